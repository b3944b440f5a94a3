//! Each step in an app's life with a fault at its file operations: old or new, never half. `scripts/torture.sh` tries
//! every operation with every fault.

use std::io::Write as _;

use streamhub_tests::life::{STEPS, Step};
use streamhub_tests::skip::need;
use streamhub_tests::sweep::Trouble;

fn swept(name: &str, troubles: &[Trouble], stride: usize) {
    let (mut runs, mut hit) = (0, 0);
    for (at, verb) in STEPS.into_iter().enumerate() {
        let Some(step) = need(name, Step::new(verb)) else { return };
        for (nth, trouble) in troubles.iter().enumerate() {
            // Each step and fault begins elsewhere, so that no kind of operation is passed over.
            let totals = step.sweep(*trouble, 1 + (at + nth) % stride, stride);
            assert!(totals.wrong.is_empty(), "{}", totals.wrong.join("\n\n"));
            runs += totals.runs;
            hit += totals.hit;
        }
    }
    // Past the harness's capture: how much was tried belongs to the result.
    writeln!(std::io::stderr(), "{name}: {runs} runs, {hit} hit").expect("standard error");
    assert!(runs > 50 && hit > runs / 2, "{runs} runs, {hit} hit");
}

#[test]
fn a_kill_or_a_torn_write_leaves_the_old_or_the_new() {
    swept("hub::life::kill", &Trouble::ALL[..1], 3);
    swept("hub::life::torn", &Trouble::ALL[1..2], 10);
}

#[test]
fn a_full_or_broken_disk_leaves_the_old_or_the_new() {
    swept("hub::life::full_or_broken", &Trouble::ALL[2..], 17);
}
