//! Requests that are sent twice.

use super::Site;
use crate::idempotency::{Answer, Recall, Repeatable};
use crate::progress::Silent;
use crate::{Actor, AppId, Hub, HubConfig, NewApp, TenantChange, TenantId};

fn acting(hub: &Hub, key: &str, print: &str) -> Hub {
    let actor = Actor { repeatable: Some(Repeatable::new("token:1", key, print)), ..Actor::new("token:1") };
    hub.acting(actor)
}

fn is_fresh(hub: &Hub, app: Option<&AppId>) -> bool {
    matches!(hub.recall(app).unwrap(), Some(Recall::Fresh(_)))
}

#[test]
fn what_was_done_is_known_when_it_is_asked_for_again() {
    let site = Site::new();
    let hub = site.hub("data");
    let first = acting(&hub, "key", "print");
    let Some(Recall::Fresh(under_way)) = first.recall(None).unwrap() else { panic!("it is the first") };
    assert!(matches!(first.recall(None).unwrap(), Some(Recall::UnderWay)));
    first.create_tenant(&"acme".parse().unwrap(), &TenantChange::default()).unwrap();
    drop(under_way);
    let Some(Recall::Done(done)) = first.recall(None).unwrap() else { panic!("it was done") };
    assert_eq!(done.entry.target.as_deref(), Some("acme"));
    first.keep_answer(None, Answer { status: 201, body: b"{}".to_vec() }).unwrap();
    assert!(matches!(first.recall(None).unwrap(), Some(Recall::Answered(_, Answer { status: 201, .. }))));
    assert!(matches!(acting(&hub, "key", "another").recall(None).unwrap(), Some(Recall::Another)));
    assert!(is_fresh(&acting(&hub, "another", "print"), None));
    assert!(hub.recall(None).unwrap().is_none(), "nobody acts");
}

#[test]
fn what_was_refused_may_be_tried_again() {
    let site = Site::new();
    let hub = acting(&site.hub("data"), "key", "print");
    let platform = TenantId::platform();
    let under_way = hub.recall(None).unwrap();
    hub.create_tenant(&platform, &TenantChange::default()).unwrap_err();
    drop(under_way);
    assert!(is_fresh(&hub, None));
}

#[test]
fn a_change_of_an_app_is_known_before_upkeep_got_to_it() {
    let site = Site::new();
    let hub = site.hub("data");
    let id: AppId = "news-24".parse().unwrap();
    let creating = acting(&hub, "create", "print");
    assert!(is_fresh(&creating, None));
    creating.create(&NewApp::new(id.clone(), TenantId::platform())).unwrap();
    assert!(matches!(creating.recall(None).unwrap(), Some(Recall::Done(_))));

    let adding = acting(&hub, "add", "print");
    assert!(is_fresh(&adding, Some(&id)));
    let vod = adding.app(&id).unwrap().create_vod(crate::vods::NewVod::named("a.mp4")).unwrap();
    let Some(Recall::Done(done)) = adding.recall(Some(&id)).unwrap() else { panic!("it was done") };
    assert_eq!((&*done.entry.action, done.entry.target), ("vod.create", Some(vod.id.to_string())));
}

#[test]
fn the_answer_to_a_change_of_an_app_is_kept_before_upkeep_got_to_it() {
    let site = Site::new();
    let hub = Hub::open(&HubConfig { upkeep: false, ..site.config("data") }, &Silent).unwrap();
    let id: AppId = "news-24".parse().unwrap();
    hub.create(&NewApp::new(id.clone(), TenantId::platform())).unwrap();
    let adding = acting(&hub, "add", "print");
    assert!(is_fresh(&adding, Some(&id)));
    adding.app(&id).unwrap().create_vod(crate::vods::NewVod::named("a.mp4")).unwrap();
    adding.keep_answer(Some(&id), Answer { status: 201, body: b"{}".to_vec() }).unwrap();
    // What is known is known although somebody has the app alone.
    let _alone = hub.alone(&id).unwrap();
    assert!(matches!(
        adding.recall(Some(&id)).unwrap(),
        Some(Recall::Answered(_, Answer { status: 201, .. }))
    ));
}
