//! Who may, on a data directory that was taken over.

use std::sync::Arc;

use streamhub::access::{Login, LoginError};
use streamhub::password::Password;
use streamhub::progress::Silent;
use streamhub::{Hub, HubConfig, Volatile};
use streamhub_split::Older;
use streamhub_tests::files::{copy_tree, scratch};
use streamhub_tests::skip::workspace;

fn login(hub: &Hub, email: &str, password: &str) -> Result<u64, LoginError> {
    let before = hub.password_hashes();
    let logged_in = hub.login(&Login::new(email, Password::offered(password.to_owned())))?;
    assert!(hub.authenticate(logged_in.token.reveal(), None)?.is_some());
    Ok(hub.password_hashes() - before)
}

#[test]
fn people_of_an_older_system_log_in_and_get_better_hashes() {
    let place = scratch();
    copy_tree(&workspace().join("data-example"), place.path());
    let mut config = HubConfig::new(place.path());
    config.volatile = Volatile::Permit;
    config.legacy = Some(Arc::new(Older::default()));
    let hub = Hub::open(&config, &Silent).expect("a hub");
    for (number, email) in ["root@example.com", "ZOË@example.org", "jun@example.net"].into_iter().enumerate()
    {
        let password = format!("example horse {number} battery");
        assert!(matches!(login(&hub, email, "example horse 9 battery"), Err(LoginError::Refused)));
        let hashes = [(); 2].map(|()| login(&hub, email, &password).expect("the right password"));
        assert_eq!(hashes, [2, 1], "the first login of {email} stores a better hash");
    }
    let older = &hub.sessions("usr_zoe").expect("her sessions")[2];
    assert_eq!(older.id, "exampleSession0000000001");
    assert!(older.revoked_at.is_some());
    hub.close().expect("an orderly end");
}
