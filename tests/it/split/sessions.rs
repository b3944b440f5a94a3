//! An older system's sessions are no credentials here, so they end with the take-over.

use streamhub_tests::fingerprint::control_path;
use streamhub_tests::legacy::Tree;

use super::{Place, rows_of};

#[test]
fn older_sessions_are_revoked_and_kept() {
    let session = |id: &'static str, revoked_at: Option<&'static str>| {
        [
            ("id", id.into()),
            ("user_id", "usr_1".into()),
            ("created_at", "2026-01-01 00:00:00".into()),
            ("revoked_at", revoked_at.into()),
        ]
    };
    let tree = Tree::new()
        .app("demo", |a| a.dir().global_streams(["s1"]))
        .other("sessions", session("open", None))
        .other("sessions", session("revoked", Some("2026-01-02 00:00:00")));
    let place = Place::of(&tree);
    place.taken_over();
    let ended = "SELECT id, revoked_at > '2026-01-02 00:00:00', token_hash FROM sessions ORDER BY id";
    assert_eq!(
        rows_of(&control_path(place.dir()), ended),
        ["'open' 1 NULL", "'revoked' 0 NULL"],
        "one that was revoked before keeps its time"
    );
}
