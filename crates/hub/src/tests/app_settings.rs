//! Changes of an app's configuration while the app is deleted and another is made of its name, and of secrets.

use std::thread;
use std::time::{Duration, Instant};

use super::*;

#[test]
fn an_app_stays_in_its_place_while_its_configuration_changes() {
    let site = Site::new();
    let hub = site.hub("a");
    created(&hub, "news-24");
    let others = hub.shared.settings_writer();
    let changing = thread::spawn({
        let hub = hub.clone();
        move || hub.patch_app_config(&id("news-24"), &json!({"callbacks": {"secret": "former"}}))
    });
    // It has begun once the app is in use; where it never is, the deletion shows that.
    let patience = Instant::now() + Duration::from_secs(5);
    while hub.app_state(&id("news-24")) != AppState::Open && Instant::now() < patience {
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(hub.delete(&id("news-24")).unwrap_err().kind(), Kind::Unavailable);
    drop(others);
    changing.join().unwrap().unwrap();
    hub.delete(&id("news-24")).unwrap();
    created(&hub, "news-24");
    assert!(hub.app_config(&id("news-24")).unwrap().masked().get("callbacks").is_none());
    hub.close().unwrap();
}

#[test]
fn a_closed_hub_leaves_secrets_to_the_next() {
    const NAME: &str = "STREAMHUB_TEST_KEY";
    let site = Site::new();
    let hub = site.hub("a");
    hub.set_secret(NAME, "one").unwrap();
    hub.close().unwrap();
    let next = site.hub("a");
    assert!(matches!(hub.set_secret(NAME, "two"), Err(HubError::Closed)));
    assert!(matches!(hub.remove_secret(NAME), Err(HubError::Closed)));
    assert!(matches!(hub.secret(NAME), Err(HubError::Closed)));
    assert!(next.secret(NAME).unwrap().is_some());
    next.close().unwrap();
}

#[test]
fn what_is_not_in_service_is_not_configured() {
    let site = Site::new();
    let hub = site.hub("a");
    created(&hub, "news-24");
    let patch = |name: &str| hub.patch_app_config(&id(name), &json!({"x": 1})).unwrap_err().kind();
    assert_eq!(patch("other-one"), Kind::NotFound);
    hub.delete(&id("news-24")).unwrap();
    assert_eq!(patch("news-24"), Kind::NotFound);
    hub.close().unwrap();
}

#[test]
fn a_name_that_can_be_no_secrets_is_the_callers_mistake() {
    let site = Site::new();
    let hub = site.hub("a");
    assert_eq!(hub.set_secret("s3/key", "x").unwrap_err().kind(), Kind::Invalid);
    assert!(hub.secret("s3/key").unwrap().is_none());
    hub.close().unwrap();
}
