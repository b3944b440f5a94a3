//! A take-over of two small apps with a fault at each of its file operations: one app whose database is built, one
//! whose older `app.db` is adopted. `scripts/torture.sh` does the same to the whole example, and kills at random.

use std::io::Write as _;

use streamhub_tests::faults::Mode;
use streamhub_tests::legacy::{Tree, stream, vod};
use streamhub_tests::skip::need;
use streamhub_tests::sweep::{Sweep, Trouble};

pub(crate) fn one_of_each() -> Tree {
    Tree::new()
        .populated()
        .app("demo", |a| {
            a.config("name: demo\n")
                .file("recordings/a.mp4", b"not really a film")
                .vods_db(|v| {
                    v.in_wal()
                        .stream("d1")
                        .row(stream("d2").null("room"))
                        .vod("a.mp4")
                        .vod("b.mp4")
                        .vod("b.mp4")
                })
                .global_streams(["d1", "d4"])
                .global(vod("a.mp4").id(2))
                .global(vod("older.mp4").id(1).set("status", "paused"))
                .ingress(["IN_demo_0"])
        })
        .app("live", |a| {
            a.app_db(|d| d.stream("l1").vod("l.mp4").ingress("IN_live_0"))
                .global_streams(["l1", "l2"])
                .global_vods(["l.mp4", "l.mp4"])
                .ingress(["IN_live_1"])
        })
}

/// More operations than one transaction of the registry has.
const A_TRANSACTION: usize = 16;

fn swept(name: &str, troubles: &[Trouble]) {
    let sweep = Sweep::new(|dir| {
        one_of_each().build(dir);
    });
    let Some(run) = need(name, sweep.points()) else { return };
    let points = run.points.len();
    assert!(points > 100, "{points} points");
    for trouble in troubles {
        let totals = sweep.each(points, *trouble);
        // Past the harness's capture: how much was tried belongs to the result.
        writeln!(std::io::stderr(), "{name}: {trouble}: {points} points, {totals}").expect("standard error");
        assert!(totals.wrong.is_empty(), "{}", totals.wrong.join("\n\n"));
        assert_eq!(totals.runs, points);
        // What a run does varies by a transaction of the registry, which takes in as many apps as are ready.
        if matches!(trouble.mode, Mode::Kill | Mode::Torn) {
            assert!(totals.hit + A_TRANSACTION >= points, "only {} of {points} were hit", totals.hit);
        }
    }
}

#[test]
fn a_kill_or_torn_write_at_any_operation_loses_nothing() {
    swept("faults::kill", &Trouble::ALL[..2]);
}

#[test]
fn a_short_write_at_any_operation_is_no_failure() {
    swept("faults::short", &Trouble::ALL[2..3]);
}

#[test]
fn a_full_or_broken_disk_at_any_operation_is_an_error_and_then_all_is_well() {
    swept("faults::full_or_broken", &Trouble::ALL[3..]);
}
