//! How commands on a server's own machine ask it: a file in the data directory says where it listens, and holds
//! a token that counts for them alone.
//!
//! The token is another one at each start. The server remembers its hash only, and accepts it from this machine
//! only. Whoever can read the file could as well read the databases beside it.

use std::path::Path;

use serde_json::json;
use streamhub_control::tokens::Token;
use streamhub_engine::{DataDir, durable};

use crate::error::Result;
use crate::hub::Hub;

/// The most that a file with a credential has.
const CAP: u64 = 16 * 1024;

impl Hub {
    /// Writes down for commands on this machine where the server listens, and what it accepts of them until the
    /// hub is closed; what it accepted before counts no more.
    ///
    /// ```
    /// # let (_dir, hub) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/hub.in"));
    /// use streamhub::access::Who;
    ///
    /// hub.announce("http://127.0.0.1:3020")?;
    /// let text = streamhub::local::read(&hub.data().server_file())?.ok_or("it is there")?;
    /// let said: serde_json::Value = serde_json::from_str(&text)?;
    /// let token = said["token"].as_str().ok_or("it has a token")?;
    ///
    /// let found = hub.authenticate(token, Some("127.0.0.1".parse()?))?.ok_or("it is accepted")?;
    /// assert!(matches!(found.who(), Who::Local) && found.is_platform());
    /// assert!(hub.authenticate(token, Some("192.0.2.1".parse()?))?.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn announce(&self, url: &str) -> Result<()> {
        let _open = self.stay_open()?;
        let (file, token) = (self.data().server_file(), Token::local());
        durable::sweep_parts(&file)?;
        self.shared.credentials.admit_local(token.hash());
        let text = json!({ "url": url, "token": token.reveal() }).to_string();
        Ok(durable::write(&file, text.as_bytes())?)
    }
}

/// Reads a small file with a credential; none where there is no such file.
pub fn read(path: &Path) -> Result<Option<String>> {
    if !durable::exists(path)? {
        return Ok(None);
    }
    let bytes = durable::read_capped(path, CAP)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Removes what a server said. Whoever holds the data directory's lock knows that no other server is there. A
/// file that stays does no harm: the lock decides whether a server is asked, and its token is nobody's.
pub(crate) fn withdraw(data: &DataDir) {
    let file = data.server_file();
    if let Err(error) = durable::remove_file(&file) {
        tracing::warn!(file = %file.display(), %error, "a server that does not run is still said to be there");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::access::Who;
    use crate::progress::Silent;
    use crate::{HubConfig, HubError, Volatile};

    fn token(hub: &Hub) -> String {
        let text = read(&hub.data().server_file()).unwrap().unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["token"].as_str().unwrap().to_owned()
    }

    #[test]
    fn a_token_counts_for_this_machine_and_until_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = HubConfig::new(dir.path().join("data"));
        config.volatile = Volatile::Permit;
        let hub = Hub::open(&config, &Silent).unwrap();
        let file = hub.data().server_file();
        assert_eq!(read(&file).unwrap(), None);
        let is_accepted = |hub: &Hub, token: &str, address: Option<&str>| {
            let address = address.map(|address| address.parse().unwrap());
            let found = hub.authenticate(token, address).unwrap();
            assert!(found.as_ref().is_none_or(|found| matches!(found.who(), Who::Local)));
            found.is_some()
        };
        hub.announce("http://127.0.0.1:1").unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let first = token(&hub);
        assert!(first.starts_with("sl_"));
        for (address, accepted) in
            [(Some("127.0.0.1"), true), (Some("::1"), true), (Some("192.0.2.1"), false), (None, false)]
        {
            assert_eq!(is_accepted(&hub, &first, address), accepted, "{address:?}");
        }
        assert!(!is_accepted(&hub, "sl_guessed", Some("127.0.0.1")));
        hub.announce("http://127.0.0.1:2").unwrap();
        let second = token(&hub);
        assert!(
            !is_accepted(&hub, &first, Some("127.0.0.1")) && is_accepted(&hub, &second, Some("127.0.0.1"))
        );

        hub.close().unwrap();
        assert_eq!(read(&file).unwrap(), None, "nobody is asked where nobody serves");
        assert!(matches!(hub.announce("http://127.0.0.1:3"), Err(HubError::Closed)));
        assert_eq!(read(&file).unwrap(), None);

        // As a killed server leaves it.
        durable::write(&file, b"{}").unwrap();
        let hub = Hub::open(&config, &Silent).unwrap();
        assert_eq!(read(&file).unwrap(), None);
        assert!(!is_accepted(&hub, &second, Some("127.0.0.1")));
        hub.close().unwrap();
    }
}
