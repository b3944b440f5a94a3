//! What a process and its control database take of the machine, for figures and dashboards.

use std::path::Path;

use schemars::JsonSchema;
use serde::Serialize;
use streamhub_engine::durable::{names_in, read_capped};
use streamhub_engine::filesystem;
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

/// The machine, as the system describes it. A figure is missing where it does not say it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    /// Processors that this process may use.
    pub cores: usize,
    /// How many processes wanted a processor in the last minute, on average.
    pub load_1m: Option<f64>,
    /// Memory of the machine.
    pub memory_bytes: Option<u64>,
    /// Memory that may still be taken.
    pub memory_available_bytes: Option<u64>,
    /// Free space where the apps are.
    pub disk_free_bytes: Option<u64>,
}

impl Process {
    /// Asks the system.
    pub fn look() -> Self {
        let status = read_capped(Path::new("/proc/self/status"), 64 << 10).unwrap_or_default();
        let open = names_in(Path::new("/proc/self/fd")).unwrap_or_default().len() as u64;
        Self {
            resident_bytes: kibibytes(&String::from_utf8_lossy(&status), "VmRSS:"),
            // One of them is open to count the others.
            open_descriptors: open.checked_sub(1),
        }
    }
}

impl Hub {
    /// The machine, and the disk of the apps.
    pub fn machine(&self) -> Machine {
        let read = |path: &str| read_capped(Path::new(path), 64 << 10).unwrap_or_default();
        let (memory, load) = (read("/proc/meminfo"), read("/proc/loadavg"));
        let (memory, load) = (String::from_utf8_lossy(&memory), String::from_utf8_lossy(&load));
        Machine {
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            load_1m: load.split(' ').next().and_then(|load| load.parse().ok()),
            memory_bytes: kibibytes(&memory, "MemTotal:"),
            memory_available_bytes: kibibytes(&memory, "MemAvailable:"),
            disk_free_bytes: filesystem::free_bytes(&self.data().apps()).ok(),
        }
    }

    /// How large the control database is.
    pub fn control_size(&self) -> ControlSize {
        let path = self.shared.services.plane.path();
        ControlSize { bytes: bytes(path), wal_bytes: bytes(&sidecar(path, "-wal")) }
    }
}

/// Bytes, from a line such as `VmRSS:     1234 kB`.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
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
        assert_eq!(kibibytes("Name:\tx\nVmRSS:\t   2048 kB\nThreads:\t3\n", "VmRSS:"), Some(2 << 20));
        for other in ["", "VmRSS:\t2048 MB", "VmRSS:", "VmSize:\t1 kB"] {
            assert_eq!(kibibytes(other, "VmRSS:"), None, "{other}");
        }
    }
}
