//! Each step in an app's life with a fault at its file operations: old or new, never half, also where the power is cut
//! right after. `scripts/torture.sh` tries every operation with every fault.

use std::io::Write as _;

use streamhub_tests::life::{Power, STEPS, Step};
use streamhub_tests::skip::need;
use streamhub_tests::sweep::Trouble;

fn swept(name: &str, power: Power, troubles: &[Trouble], stride: usize) {
    let (mut runs, mut hit) = (0, 0);
    for (at, verb) in STEPS.into_iter().enumerate() {
        let Some(step) = need(name, Step::new(verb, power)) else { return };
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
    swept("hub::life::kill", Power::Stays, &[Trouble::KILL], 3);
    swept("hub::life::torn", Power::Stays, &Trouble::ALL[1..2], 10);
}

#[test]
fn a_full_or_broken_disk_leaves_the_old_or_the_new() {
    swept("hub::life::full_or_broken", Power::Stays, &Trouble::ALL[2..], 17);
}

#[test]
fn a_power_cut_after_a_kill_leaves_the_old_or_the_new() {
    swept("hub::life::cut", Power::Cut, &[Trouble::KILL], 12);
}

#[test]
fn an_acknowledged_step_outlasts_a_power_cut() {
    for verb in STEPS {
        let Some(step) = need("hub::life::acknowledged", Step::new(verb, Power::Cut)) else { return };
        let totals = step.acknowledged();
        assert!(totals.wrong.is_empty(), "{}", totals.wrong.join("\n\n"));
        assert_eq!((totals.hit, totals.succeeded), (1, 1), "{verb}");
    }
}
