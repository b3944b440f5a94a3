//! What the hub refuses of people, tokens and nodes, and what it then leaves as it was.

use crate::email::Email;
use crate::look::Look;
use crate::members::Role;
use crate::nodes::{NewNode, NodeStatus};
use crate::password::Password;
use crate::progress::Silent;
use crate::quotas::{Limit, QuotaChange};
use crate::tokens::{NewToken, Reach};
use crate::users::{NewUser, UserStatus};
use crate::{Hub, HubConfig, HubError, Kind, NewApp, TenantChange, TenantId, Volatile};

fn open(dir: &tempfile::TempDir) -> (Hub, HubConfig) {
    let mut config = HubConfig::new(dir.path().join("data"));
    config.volatile = Volatile::Permit;
    (Hub::open(&config, &Silent).unwrap(), config)
}

fn email(text: &str) -> Email {
    text.parse().unwrap()
}

fn user(text: &str) -> NewUser {
    NewUser { email: email(text), name: None, password: None, is_superadmin: false }
}

fn superadmin(text: &str) -> NewUser {
    let hash = Password::generate().0.hash().unwrap();
    NewUser { password: Some(hash), is_superadmin: true, ..user(text) }
}

fn acme(hub: &Hub) -> TenantId {
    let acme: TenantId = "acme".parse().unwrap();
    hub.create_tenant(&acme, &TenantChange::default()).unwrap();
    acme
}

fn refused<T: std::fmt::Debug>(result: Result<T, HubError>) -> (Kind, String) {
    let error = result.unwrap_err();
    (error.kind(), error.way_out())
}

#[test]
fn a_name_that_shows_nothing_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let (hub, _) = open(&dir);
    let acme = acme(&hub);
    let node = |name: &str, url: Option<&str>| {
        let new = NewNode { name: name.to_owned(), url: url.map(str::to_owned), region: None };
        hub.create_node(&new)
    };
    for blank in ["", " \t"] {
        let named = TenantChange { name: Some(blank.to_owned()), ..TenantChange::default() };
        assert_eq!(refused(hub.create_tenant(&"other".parse().unwrap(), &named)).0, Kind::Invalid);
        assert_eq!(refused(hub.update_tenant(&acme, &named)).0, Kind::Invalid);
        assert_eq!(refused(node(blank, None)).0, Kind::Invalid);
    }
    assert_eq!(refused(node("edge", Some("nope"))).0, Kind::Invalid);
    node("edge", Some("https://edge.example")).unwrap();
    hub.close().unwrap();
}

#[test]
fn a_tenant_changes_only_in_what_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let (hub, _) = open(&dir);
    let acme = acme(&hub);
    let made = hub.registry().tenant(&acme).unwrap();
    assert_eq!((&*made.name, &*made.plan), ("acme", "free"));
    let gold = TenantChange { plan: Some("gold".to_owned()), ..TenantChange::default() };
    assert_eq!(hub.update_tenant(&acme, &gold).unwrap().name, "acme");
    assert_eq!(hub.registry().usage(&acme).unwrap().plan, "gold");
    assert_eq!(refused(hub.create_tenant(&acme, &gold)).0, Kind::Exists);

    let change = QuotaChange { max_apps: Some(Limit::NONE), ..QuotaChange::default() };
    let quotas = hub.set_quotas(&acme, &change).unwrap();
    assert_eq!(hub.registry().quotas(&acme).unwrap(), quotas);

    let nobody = "nobody".parse().unwrap();
    let registry = hub.registry();
    for (kind, way_out) in [
        refused(hub.update_tenant(&nobody, &gold)),
        refused(hub.set_quotas(&nobody, &change)),
        refused(registry.tenant(&nobody)),
        refused(registry.quotas(&nobody)),
        refused(registry.usage(&nobody)),
        refused(registry.members(&nobody)),
        refused(registry.tokens_of(&nobody)),
        refused(hub.add_member(&nobody, "a@b.c", Role::Viewer)),
    ] {
        assert_eq!((kind, &*way_out), (Kind::NotFound, "`streamhub tenant list` shows what there is"));
    }
}

#[test]
fn members_are_named_by_key_or_address() {
    let dir = tempfile::tempdir().unwrap();
    let (hub, _) = open(&dir);
    let (acme, anna) = (acme(&hub), hub.create_user(&user("anna@b.c")).unwrap());
    assert_eq!(refused(hub.create_user(&user("ANNA@b.c"))).0, Kind::Exists);
    assert_eq!(refused(hub.remove_member(&acme, &anna.id)).0, Kind::NotFound);
    assert_eq!(refused(hub.change_member(&acme, &anna.id, Role::Owner)).0, Kind::NotFound);
    assert_eq!(hub.add_member(&acme, "Anna@b.c", Role::Viewer).unwrap().role, Role::Viewer);
    assert_eq!(refused(hub.add_member(&acme, &anna.id, Role::Owner)).0, Kind::Exists);
    assert_eq!(hub.change_member(&acme, &anna.id, Role::Owner).unwrap().role, Role::Owner);
    assert_eq!(refused(hub.add_member(&acme, "nobody", Role::Owner)).0, Kind::NotFound);
    assert_eq!(hub.registry().members(&acme).unwrap().len(), 1);
    assert_eq!(hub.remove_member(&acme, "anna@b.c").unwrap().user_id, anna.id);
    assert!(hub.registry().members(&acme).unwrap().is_empty());
}

#[test]
fn the_last_superadmin_who_can_log_in_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (hub, _) = open(&dir);
    hub.create_user(&superadmin("anna@b.c")).unwrap();
    let before = hub.registry().users().unwrap();
    assert_eq!(refused(hub.delete_user("anna@b.c")).0, Kind::Invalid);
    assert_eq!(refused(hub.set_user_status("anna@b.c", UserStatus::Disabled)).0, Kind::Invalid);
    assert_eq!(hub.set_user_status("anna@b.c", UserStatus::Active).unwrap().status, "active");
    assert_eq!(hub.registry().users().unwrap(), before);
    hub.create_user(&superadmin("bert@b.c")).unwrap();
    assert_eq!(hub.set_user_status("anna@b.c", UserStatus::Disabled).unwrap().status, "disabled");
    assert_eq!(refused(hub.delete_user("bert@b.c")).0, Kind::Invalid);
    hub.delete_user("anna@b.c").unwrap();
    assert!(hub.renew_setup_token().unwrap().is_none(), "the installation asks to be set up again");
    assert_eq!(refused(hub.delete_user("anna@b.c")).0, Kind::NotFound);
}

#[test]
fn a_token_is_made_for_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let (hub, _) = open(&dir);
    let acme = acme(&hub);
    let app = hub.create(&NewApp::new("news-24".parse().unwrap(), acme.clone())).unwrap();
    let new = |reach, tenant: &TenantId| NewToken {
        name: "ci".to_owned(),
        reach,
        tenant: tenant.clone(),
        allowed_ips: crate::allow_list::AllowList::EVERYBODY,
    };
    let (id, token) = hub.create_token(&new(Reach::App(app.id), &acme)).unwrap();
    assert!(token.reveal().starts_with("sk_"));
    assert_eq!(refused(hub.create_token(&new(Reach::App(app.id), &TenantId::platform()))).0, Kind::NotFound);
    assert_eq!(refused(hub.create_token(&new(Reach::Global, &"nobody".parse().unwrap()))).0, Kind::NotFound);
    assert_eq!(hub.registry().tokens().unwrap(), hub.registry().tokens_of(&acme).unwrap());
    for _ in 0..2 {
        assert!(hub.revoke_token(id).unwrap().revoked);
    }
    assert_eq!(refused(hub.revoke_token(404)).0, Kind::NotFound);
}

#[test]
fn nodes_are_named_by_key_or_name() {
    let dir = tempfile::tempdir().unwrap();
    let (hub, config) = open(&dir);
    let new = NewNode { name: "edge-1".to_owned(), url: None, region: Some("eu".to_owned()) };
    let node = hub.create_node(&new).unwrap();
    assert_eq!(refused(hub.create_node(&new)).0, Kind::Exists);
    assert_eq!(hub.set_node_status(&node.id, NodeStatus::Draining).unwrap().status, "draining");
    assert_eq!(hub.registry().node("edge-1").unwrap().status, "draining");
    // As an older system may have left it.
    hub.write(|db| db.execute("UPDATE nodes SET name = 'twin'", [])).unwrap();
    hub.create_node(&NewNode { name: "other".to_owned(), ..new.clone() }).unwrap();
    hub.write(|db| db.execute("UPDATE nodes SET name = 'twin'", [])).unwrap();
    assert_eq!(refused(hub.delete_node("twin")).0, Kind::Invalid);
    assert_eq!(hub.delete_node(&node.id).unwrap().name.as_deref(), Some("twin"));
    assert_eq!(refused(hub.delete_node(&node.id)).0, Kind::NotFound);
    hub.close().unwrap();
    let look = Look::at(&config).unwrap();
    assert_eq!(look.registry().unwrap().nodes().unwrap().len(), 1);
}
