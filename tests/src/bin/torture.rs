//! Takes `data-example` over and over again with a fault at each file operation in every mode, and with kills at random
//! moments; prints the totals. `torture [KILLS]`, by default 2,000 kills. For `scripts/torture.sh`.

#![allow(clippy::print_stdout, reason = "this program prints its totals")]

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use streamhub_tests::files::copy_tree;
use streamhub_tests::skip::workspace;
use streamhub_tests::sweep::{Sweep, Totals, Trouble};

fn main() -> ExitCode {
    let kills = std::env::args().nth(1).map_or(2_000, |text| text.parse().expect("a number of kills"));
    let sweep = Sweep::new(|dir| copy_tree(&workspace().join("data-example"), dir));
    let points = sweep.points().expect("a C compiler").points.len();
    println!("{points} points; an undisturbed run takes {:?}", sweep.duration);
    let mut failed = false;
    let mut report = |name: &str, totals: &Totals| {
        println!("{name:<16} {totals}");
        for line in &totals.wrong {
            println!("  {line}");
        }
        failed |= !totals.wrong.is_empty();
    };
    let seed =
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| u64::from(since.subsec_nanos()));
    println!("seed {seed}");
    report("random kills", &sweep.random_kills(kills, seed));
    for trouble in Trouble::ALL {
        report(&trouble.to_string(), &sweep.each(points, trouble));
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
