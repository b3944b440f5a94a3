//! A graceful stop: what it seals, whom it waits for, and what each caller of it is told.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::*;

fn write_to(hub: &Hub, name: &str) {
    hub.app(&id(name)).unwrap().start_stream(stream("live")).unwrap();
}

fn is_sealed(site: &Site, name: &str) -> bool {
    Seal::read(&site.path("a/apps").join(name)).unwrap().is_some()
}

#[test]
fn what_was_closed_for_being_idle_is_sealed_too() {
    let site = Site::new();
    let hub = site.hub("a");
    created(&hub, "news-24");
    write_to(&hub, "news-24");
    while hub.app_state(&id("news-24")) != AppState::Closed {
        hub.shared.cache.sweep();
    }
    assert!(!is_sealed(&site, "news-24"));
    hub.close().unwrap();
    assert!(is_sealed(&site, "news-24"));
}

#[test]
fn what_is_idle_is_sealed_although_others_stay_in_use() {
    let site = Site::new();
    let hub = site.hub("a");
    let names: Vec<String> = (1..8).map(|at| format!("app-{at}")).collect();
    for name in &names {
        created(&hub, name);
        write_to(&hub, name);
    }
    let in_use = ["app-1", "app-4"].map(|name| hub.app(&id(name)).unwrap());
    assert_eq!(hub.close().unwrap_err().kind(), Kind::Unavailable);
    for name in &names {
        assert_eq!(is_sealed(&site, name), !["app-1", "app-4"].contains(&name.as_str()), "{name}");
    }
    drop(in_use);
    hub.close().unwrap();
    assert!(names.iter().all(|name| is_sealed(&site, name)), "the rest when it is closed again");
}

#[test]
fn who_closes_while_another_does_is_told_what_is_true() {
    let site = Site::new();
    let mut config = site.config("a");
    config.wait = Duration::from_millis(500);
    let hub = Hub::open(&config, &Silent).unwrap();
    created(&hub, "news-24");
    let in_use = hub.app(&id("news-24")).unwrap();
    let closing = || {
        let hub = hub.clone();
        thread::spawn(move || hub.close())
    };
    let closed = [closing(), closing(), closing()].map(|closing| closing.join().unwrap());
    for closed in closed {
        assert_eq!(closed.unwrap_err().kind(), Kind::Unavailable);
        assert!(matches!(Hub::open(&config, &Silent), Err(HubError::InUse { .. })));
    }
    // One whose lease ends meanwhile succeeds for both.
    let (let_go, last) = mpsc::channel();
    let both = [closing(), closing()];
    thread::spawn(move || {
        drop(in_use);
        let_go.send(()).unwrap();
    });
    last.recv().unwrap();
    for closing in both {
        closing.join().unwrap().unwrap();
    }
    Hub::open(&config, &Silent).unwrap().close().unwrap();
}
