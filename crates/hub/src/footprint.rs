//! What a process and its control database take of the machine, for figures and dashboards.

use std::path::Path;

use streamhub_engine::durable::{names_in, read_capped};
use streamhub_engine::unopened::sidecar;

use crate::hub::Hub;
use crate::status::bytes;

/// What this process takes. A figure is missing where the system does not say it.
///
/// ```
/// use streamhub::footprint::Process;
///
/// let process = Process::look();
/// assert!(process.resident_bytes.is_none_or(|bytes| bytes > 100_000));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Memory that is in use.
    pub resident_bytes: Option<u64>,
    /// Descriptors that are open.
    pub open_descriptors: Option<u64>,
}

/// The files of the control database; 0 where they cannot be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlSize {
    /// The database itself.
    pub bytes: u64,
    /// Its `-wal`.
    pub wal_bytes: u64,
}

impl Process {
    /// Asks the system.
    pub fn look() -> Self {
        let status = read_capped(Path::new("/proc/self/status"), 64 << 10).unwrap_or_default();
        let open = names_in(Path::new("/proc/self/fd")).unwrap_or_default().len() as u64;
        Self {
            resident_bytes: resident(&String::from_utf8_lossy(&status)),
            // One of them is open to count the others.
            open_descriptors: open.checked_sub(1),
        }
    }
}

impl Hub {
    /// How large the control database is.
    pub fn control_size(&self) -> ControlSize {
        let path = self.shared.services.plane.path();
        ControlSize { bytes: bytes(path), wal_bytes: bytes(&sidecar(path, "-wal")) }
    }
}

/// From a line such as `VmRSS:     1234 kB`.
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_its_own_figures() {
        let before = Process::look();
        assert!(before.resident_bytes.unwrap() > 1 << 20);
        let listeners: Vec<_> =
            (0..50).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let open = Process::look().open_descriptors.unwrap();
        assert!(open >= 50 && before.open_descriptors.unwrap() > 2, "{open} of {}", listeners.len());
    }

    #[test]
    fn what_the_system_does_not_say_is_missing() {
        assert_eq!(resident("Name:\tx\nVmRSS:\t   2048 kB\nThreads:\t3\n"), Some(2 << 20));
        for other in ["", "VmRSS:\t2048 MB", "VmRSS:", "VmSize:\t1 kB"] {
            assert_eq!(resident(other), None, "{other}");
        }
    }
}
