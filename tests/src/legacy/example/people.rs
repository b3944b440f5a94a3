//! Who may do what in the example: tenants' people, tokens, ingress passwords, and the page that says so.
//!
//! The hashes are real, so that one can log in; what they are hashes of stands in the example's README.

use std::fmt::Write as _;

use scrypt::Params;
use sha2::{Digest as _, Sha256};

use super::super::rows::{Cell, Row, ingress};
use super::super::tree::Tree;
use crate::files::hex;

const MADE: &str = "2025-12-01 09:00:00";

struct Person {
    id: &'static str,
    email: &'static str,
    name: &'static str,
    password: &'static str,
    superadmin: bool,
    roles: &'static [(&'static str, &'static str)],
}

const PEOPLE: [Person; 3] = [
    Person {
        id: "admin",
        email: "root@example.com",
        name: "Root",
        password: "example horse 0 battery",
        superadmin: true,
        roles: &[("platform", "owner")],
    },
    Person {
        id: "usr_zoe",
        email: "zoë@example.org",
        name: "Zoë",
        password: "example horse 1 battery",
        superadmin: false,
        roles: &[(super::NORDLICHT, "owner"), (super::HAFEN, "viewer")],
    },
    Person {
        id: "usr_jun",
        email: "jun@example.net",
        name: "潤",
        password: "example horse 2 battery",
        superadmin: false,
        roles: &[(super::HAFEN, "owner")],
    },
];

struct Token {
    name: &'static str,
    /// The place of its app among the example's, from 1; without one it is good for everything.
    app: Option<i64>,
    tenant: &'static str,
    addresses: Option<&'static str>,
    revoked: bool,
}

const TOKENS: [Token; 4] = [
    Token { name: "ui", app: None, tenant: "platform", addresses: None, revoked: false },
    Token {
        name: "ci",
        app: Some(1),
        tenant: super::NORDLICHT,
        addresses: Some(r#"["127.0.0.1","10.0.0.0/8","2001:db8::/32"]"#),
        revoked: false,
    },
    Token { name: "old", app: None, tenant: "platform", addresses: None, revoked: true },
    Token { name: "news", app: Some(3), tenant: super::HAFEN, addresses: None, revoked: false },
];

/// Something that may be published to, with or without a password.
pub(super) struct Ingress {
    pub(super) app: &'static str,
    number: usize,
    password: Option<&'static str>,
}

pub(super) const INGRESS: [Ingress; 8] = [
    Ingress { app: "demo", number: 0, password: Some("example-demo-0") },
    Ingress { app: "demo", number: 1, password: None },
    Ingress { app: "radio", number: 0, password: Some("example-radio-0") },
    Ingress { app: "radio", number: 1, password: None },
    Ingress { app: "news-24", number: 0, password: Some("example-news-0") },
    Ingress { app: "news-24", number: 1, password: None },
    Ingress { app: "archive", number: 0, password: None },
    Ingress { app: "camera-wall", number: 0, password: Some("example-wall-0") },
];

impl Ingress {
    fn id(&self) -> String {
        format!("IN_{}_{}", self.app, self.number)
    }
}

/// The row of an ingress.
pub(super) fn ingress_password(ingress_of: &Ingress) -> Row {
    let id = ingress_of.id();
    let room = format!("{}-room-{}", ingress_of.app, ingress_of.number);
    let row = ingress(&id).set("room", room).set("created_at", MADE);
    let Some(password) = ingress_of.password else { return row };
    let salt = salt(&id);
    // The older system salts these with the text of the salt, and users' passwords with what the text stands for.
    let hash = scrypt(14, password, hex(&salt).as_bytes(), 32);
    row.set("password_hash", hex(&hash))
        .set("password_salt", hex(&salt))
        .set("requires_password", 1)
        .set("validated_at", "2026-01-01T00:00:00.000Z")
}

/// Adds people, tokens, sessions, logs and the rest of the registry.
pub(super) fn push_people(mut tree: Tree) -> Tree {
    for person in &PEOPLE {
        let salt = salt(person.id);
        let hash = hex(&scrypt(15, person.password, &salt, 64));
        tree = tree.other(
            "users",
            [
                ("id", person.id.into()),
                ("email", person.email.into()),
                ("is_superadmin", i64::from(person.superadmin).into()),
                ("created_at", MADE.into()),
                ("password_hash", format!("scrypt$32768$8$1${}${hash}", hex(&salt)).into()),
                ("name", person.name.into()),
            ],
        );
        for (tenant, role) in person.roles {
            let cells = [
                ("user_id", person.id.into()),
                ("tenant_id", (*tenant).into()),
                ("role", (*role).into()),
                ("created_at", MADE.into()),
            ];
            tree = tree.other("memberships", cells);
        }
    }
    for token in &TOKENS {
        tree = tree.other(
            "api_tokens",
            [
                ("name", token.name.into()),
                ("token_hash", hex(&Sha256::digest(plain(token))).into()),
                ("scope", if token.app.is_some() { "app" } else { "global" }.into()),
                ("app_id", token.app.into()),
                ("allowed_ips_json", token.addresses.into()),
                ("last_used_at", token.revoked.then_some("2025-12-24T18:00:00.000Z").into()),
                ("created_at", MADE.into()),
                ("revoked", i64::from(token.revoked).into()),
                ("tenant_id", token.tenant.into()),
            ],
        );
    }
    tree = logs(tree);
    tree.other(
        "sessions",
        [
            ("id", "exampleSession0000000001".into()),
            ("user_id", "usr_zoe".into()),
            ("email", "zoë@example.org".into()),
            ("ip", "2001:db8::7".into()),
            ("created_at", "2026-01-01T09:00:00.000Z".into()),
            ("last_seen", "2026-01-01 09:05:00".into()),
        ],
    )
    .other(
        "ip_rules",
        [
            ("cidr", "192.0.2.0/24".into()),
            ("action", "block".into()),
            ("note", "scanners".into()),
            ("created_at", MADE.into()),
        ],
    )
    .other(
        "nodes",
        [
            ("id", "node_1".into()),
            ("name", "edge-1".into()),
            ("url", "https://edge-1.example".into()),
            ("created_at", MADE.into()),
            ("stats_json", r#"{"cpu":0.25}"#.into()),
        ],
    )
}

fn logs(mut tree: Tree) -> Tree {
    let levels = ["info", "info", "warn", "error", "debug"];
    for i in 0..300_i64 {
        let (hour, minute) = (i / 60, i % 60);
        let ts = if i % 2 == 0 {
            format!("2026-01-01 {hour:02}:{minute:02}:00")
        } else {
            format!("2026-01-01T{hour:02}:{minute:02}:00.250Z")
        };
        let level = levels[usize::try_from(i).expect("a small number") % levels.len()];
        tree = tree.other(
            "server_logs",
            [
                ("ts", ts.into()),
                ("level", level.into()),
                ("source", if i % 3 == 0 { Cell::Null } else { "ingest".into() }),
                ("app_id", (i % 6 != 0).then_some(i % 6).into()),
                ("message", format!("Ereignis №{i}: room »größe« opened").into()),
            ],
        );
    }
    tree
}

/// The page at the example's top.
pub(super) fn readme() -> String {
    let mut people = String::new();
    for person in &PEOPLE {
        writeln!(people, "| `{}` | `{}` |", person.email, person.password).expect("writing to a string");
    }
    let mut tokens = String::new();
    for token in &TOKENS {
        let what = match (token.revoked, token.app) {
            (true, _) => "revoked",
            (_, None) => "everything",
            (_, Some(_)) => "one app",
        };
        writeln!(tokens, "| `{}` | {what} | `{}` |", token.name, plain(token)).expect("writing to a string");
    }
    let mut streams = String::new();
    for (ingress, password) in INGRESS.iter().filter_map(|i| i.password.map(|p| (i, p))) {
        writeln!(streams, "| `{}` | `{password}` |", ingress.id()).expect("writing to a string");
    }
    include_str!("README.md.in")
        .replace("{people}", people.trim_end())
        .replace("{tokens}", tokens.trim_end())
        .replace("{ingress}", streams.trim_end())
}

/// `sk_` and 32 bytes in base64url, which follow from the token's name.
fn plain(token: &Token) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bytes = Sha256::digest(format!("an example's token: {}", token.name));
    let mut text = String::from("sk_");
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0_usize, |bits, i| bits << 8 | usize::from(*group.get(i).unwrap_or(&0)));
        text.extend((0..=group.len()).map(|i| char::from(DIGITS[bits >> (18 - 6 * i) & 63])));
    }
    text
}

fn salt(label: &str) -> Vec<u8> {
    Sha256::digest(format!("an example's salt: {label}"))[..16].to_vec()
}

fn scrypt(log_n: u8, password: &str, salt: &[u8], length: usize) -> Vec<u8> {
    let mut hash = vec![0; length];
    let params = Params::new(log_n, 8, 1, length).expect("the older system's parameters");
    scrypt::scrypt(password.as_bytes(), salt, &params, &mut hash).expect("a valid length");
    hash
}
