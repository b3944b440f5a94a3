//! Something to survive in each of the registry's tables.

use super::database::OtherRow;
use super::ddl::Shape;
use super::rows::Cell;

/// The shape of a user's password hash; no password is known to fit it.
const NO_PASSWORD: &str = concat!(
    "scrypt$32768$8$1$00112233445566778899aabbccddeeff$",
    "00000000000000000000000000000000000000000000000000000000000000000000000000000000",
    "000000000000000000000000000000000000000000000000"
);

/// A row for a table, by column.
pub(crate) fn row<const N: usize>(table: &str, cells: [(&str, Cell); N]) -> OtherRow {
    (table.to_owned(), cells.map(|(column, value)| (column.to_owned(), value)).into())
}

/// A row or two for each table that the registry has besides its apps; some speak of an app where there is one.
pub(crate) fn rows(shape: &Shape, app: Option<i64>) -> Vec<OtherRow> {
    let version = shape.version.max(1);
    let late = shape.late_columns;
    let mut all = Vec::new();
    if version >= 2 {
        let token = |name: &str, hash: &str, scope: &str, app_id: Cell| {
            let cells = [
                ("name", name.into()),
                ("token_hash", hash.repeat(32).into()),
                ("scope", scope.into()),
                ("app_id", app_id),
                ("allowed_ips_json", r#"["127.0.0.1","10.0.0.0/8"]"#.into()),
                ("created_at", "2025-07-01T10:00:00.000Z".into()),
            ];
            row("api_tokens", cells)
        };
        all.extend([token("ui", "a1", "global", Cell::Null), token("ci", "b2", "app", app.into())]);
    }
    if version >= 3 {
        let log = |ts: &str, app_id: Cell, message: &str| {
            let cells = [
                ("ts", ts.into()),
                ("level", "info".into()),
                ("source", "system".into()),
                ("app_id", app_id),
                ("message", message.into()),
            ];
            row("server_logs", cells)
        };
        all.push(log("2025-07-01 10:00:00", Cell::Null, "started"));
        all.push(log("2025-07-01T10:00:01.250Z", app.into(), "raum »größe« eröffnet"));
    }
    if version >= 5 {
        let mut user = row(
            "users",
            [
                ("id", "usr_background".into()),
                ("email", "björn@example.org".into()),
                ("created_at", "2025-06-01 08:00:00".into()),
            ],
        );
        if late {
            user.1.push(("password_hash".to_owned(), NO_PASSWORD.into()));
            user.1.push(("name".to_owned(), "Björn".into()));
        }
        all.push(user);
        all.push(row(
            "tenants",
            [
                ("id", "tnt_background".into()),
                ("name", "Team – björn".into()),
                ("created_at", "2025-06-01 08:00:00".into()),
            ],
        ));
        all.push(row("quotas", [("tenant_id", "tnt_background".into()), ("max_apps", (-1).into())]));
        all.push(row(
            "memberships",
            [
                ("user_id", "usr_background".into()),
                ("tenant_id", "tnt_background".into()),
                ("role", "owner".into()),
                ("created_at", "2025-06-01 08:00:00".into()),
            ],
        ));
    }
    if version >= 7 {
        all.push(row(
            "nodes",
            [
                ("id", "node_background".into()),
                ("name", "edge".into()),
                ("created_at", "2025-06-01 08:00:00".into()),
            ],
        ));
    }
    if shape.run_time_tables {
        all.extend(run_time_rows());
    }
    all
}

fn run_time_rows() -> [OtherRow; 4] {
    [
        row(
            "sessions",
            [
                ("id", "SErUZcYum2356vfqQ67ks6Jt".into()),
                ("user_id", "usr_background".into()),
                ("ip", "2001:db8::1".into()),
                ("created_at", "2025-07-01T10:00:00.000Z".into()),
                ("last_seen", "2025-07-01 10:00:00".into()),
            ],
        ),
        row(
            "magic_tokens",
            [
                ("token_hash", "c3".repeat(32).into()),
                ("email", "björn@example.org".into()),
                ("created_at", "2025-07-01 10:00:00".into()),
                ("expires_at", "2025-07-01T10:15:00.000Z".into()),
            ],
        ),
        row(
            "ip_rules",
            [
                ("cidr", "192.0.2.0/24".into()),
                ("action", "block".into()),
                ("created_at", "2025-07-01 10:00:00".into()),
            ],
        ),
        row(
            "ip_bans",
            [
                ("ip", "198.51.100.7".into()),
                ("reason", "guessing".into()),
                ("first_seen", "2025-07-01 10:00:00".into()),
                ("banned_until", "2025-07-02T10:00:00.000Z".into()),
            ],
        ),
    ]
}
