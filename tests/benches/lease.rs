//! Goal 1: what a lease of an app that is open costs, beside a look-up in a `DashMap` and a clone of an `Arc`.
//!
//! Both sides look for the same names among as many entries. Two threads on two apps show what threads
//! that work on different apps share; each of them has an app of its own.

#![allow(clippy::print_stdout, reason = "this program prints its numbers")]

mod support;

use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::time::Instant;

use dashmap::DashMap;
use streamhub::{AppId, Hub};
use streamhub_tests::files::scratch;
use streamhub_tests::measure::{Compared, Goal, Needs, by_turns, median, ns_per_call};

const APPS: usize = 64;
const CALLS: u32 = 200_000;
const ROUNDS: usize = 15;

fn main() {
    let scratch = scratch();
    let hub = support::hub(scratch.path());
    let ids: Vec<AppId> = (0..APPS).map(|number| support::create(&hub, number)).collect();
    let map: DashMap<AppId, Arc<u64>> = ids.iter().cloned().zip((0..).map(Arc::new)).collect();
    for id in &ids {
        lease(&hub, id);
    }

    let calls = CALLS / u32::try_from(APPS).expect("few");
    let compared = by_turns(
        ROUNDS,
        || ns_per_call(calls, || ids.iter().for_each(|id| lease(&hub, id))) / 64.0,
        || ns_per_call(calls, || ids.iter().for_each(|id| look_up(&map, id))) / 64.0,
    );
    let what = "warm lease of an open app, against a `DashMap` look-up and an `Arc` clone";
    Goal { id: "1a", what, needs: Needs::AtMost(3.0), unit: "ns" }.print_ratio(&compared);

    let counted = allocation_counter::measure(|| ids.iter().for_each(|id| lease(&hub, id)));
    let of_map = allocation_counter::measure(|| ids.iter().for_each(|id| look_up(&map, id)));
    let allocations = |counted: &allocation_counter::AllocationInfo| {
        vec![f64::from(u32::try_from(counted.count_total).expect("few"))]
    };
    let compared = Compared { ours: allocations(&counted), baseline: allocations(&of_map) };
    let what = "allocations in 64 warm leases";
    Goal { id: "1b", what, needs: Needs::AtMost(0.0), unit: "allocations" }.print_figure(&compared);

    let compared = by_turns(
        ROUNDS,
        || per_second(&[&ids[0], &ids[1]], |id| lease(&hub, id)),
        || per_second(&[&ids[0]], |id| lease(&hub, id)),
    );
    let what = "two threads leasing two apps, against one thread";
    Goal { id: "1c", what, needs: Needs::AtLeast(1.7), unit: "leases/s" }.print_ratio(&compared);
    let of_map = by_turns(
        ROUNDS,
        || per_second(&[&ids[0], &ids[1]], |id| look_up(&map, id)),
        || per_second(&[&ids[0]], |id| look_up(&map, id)),
    );
    println!("two threads with the map alone: {:.2} × one", of_map.ratio());
    println!("one thread with the map alone: {:.0} look-ups/s", median(&of_map.baseline));
}

fn lease(hub: &Hub, id: &AppId) {
    drop(black_box(hub.app(id).expect("it is open")));
}

fn look_up(map: &DashMap<AppId, Arc<u64>>, id: &AppId) {
    let found = Arc::clone(&*map.get(id).expect("it is there"));
    drop(black_box(found));
}

/// Calls per second of all threads together, one thread for each app.
fn per_second(apps: &[&AppId], call: impl Fn(&AppId) + Sync) -> f64 {
    let barrier = Barrier::new(apps.len() + 1);
    std::thread::scope(|scope| {
        for id in apps {
            scope.spawn(|| {
                barrier.wait();
                (0..CALLS).for_each(|_| call(id));
                barrier.wait();
            });
        }
        barrier.wait();
        let start = Instant::now();
        barrier.wait();
        f64::from(CALLS) * f64::from(u32::try_from(apps.len()).expect("few")) / start.elapsed().as_secs_f64()
    })
}
