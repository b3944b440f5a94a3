//! Takes `data-example` over and over again with a fault at each file operation in every mode, and with kills at random
//! moments; prints the totals. `torture [KILLS]`, by default 2,000 kills. For `scripts/torture.sh`.
//!
//! `torture live [SEEDS]` does the same to engine's writer, with so many scripts of writes, by default 20.
//!
//! `torture life [STRIDE]` does the same to each step in an app's life, at each operation or each so many; and kills it
//! there and cuts the power of the disk.

#![allow(clippy::print_stdout, reason = "this program prints its totals")]

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use streamhub_tests::files::copy_tree;
use streamhub_tests::life::{Power, STEPS, Step};
use streamhub_tests::live;
use streamhub_tests::skip::{need, workspace};
use streamhub_tests::sweep::{Sweep, Totals, Trouble};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    let what = arguments.next_if(|word| ["live", "life"].contains(&word.as_str()));
    let count = arguments.next().map(|text| text.parse().expect("a number"));
    let mut report = Report::default();
    match what.as_deref() {
        Some("live") => writer(count.unwrap_or(20), &mut report),
        Some(_) => steps(count.unwrap_or(1), &mut report),
        None => take_over(count.unwrap_or(2_000), &mut report),
    }
    if report.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn take_over(kills: usize, report: &mut Report) {
    let sweep = Sweep::new(|dir| copy_tree(&workspace().join("data-example"), dir));
    let points = sweep.points().expect("a C compiler").points.len();
    println!("{points} points; an undisturbed run takes {:?}", sweep.duration);
    let seed =
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| u64::from(since.subsec_nanos()));
    println!("seed {seed}");
    report.add("random kills", &sweep.random_kills(kills, seed));
    for trouble in Trouble::ALL {
        report.add(&trouble.to_string(), &sweep.each(points, trouble));
    }
}

fn writer(seeds: usize, report: &mut Report) {
    for seed in (0..).take(seeds) {
        let points = live::points(seed).expect("a C compiler");
        println!("the writer, seed {seed}: {points} points");
        for trouble in Trouble::ALL {
            report.add(&trouble.to_string(), &live::sweep(points, seed, trouble));
        }
    }
}

fn steps(stride: usize, report: &mut Report) {
    for (power, troubles) in [(Power::Stays, &Trouble::ALL[..]), (Power::Cut, &[Trouble::KILL])] {
        for verb in STEPS {
            let Some(step) = need("torture life", Step::new(verb, power)) else { return };
            println!("{verb}: {} points, power {power:?}", step.points());
            for trouble in troubles {
                report.add(&trouble.to_string(), &step.sweep(*trouble, 1, stride));
            }
        }
    }
}

/// Prints totals and remembers whether anything was wrong.
#[derive(Default)]
struct Report {
    failed: bool,
}

impl Report {
    fn add(&mut self, name: &str, totals: &Totals) {
        println!("{name:<16} {totals}");
        for line in &totals.wrong {
            println!("  {line}");
        }
        self.failed |= !totals.wrong.is_empty();
    }
}
