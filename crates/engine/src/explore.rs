//! How much the model checker tries of the live core.
//!
//! `EXPLORE_SCHEDULES` says how many interleavings of each model; half of them random, half such that a few
//! threads are held back at the worst moments.

/// Threads are held back at this many moments.
const DEPTH: usize = 3;

/// Runs a model under many interleavings. A wait that nobody ends is a failure, since no deadline passes.
pub(crate) fn explore(model: impl Fn() + Send + Sync + 'static) {
    let schedules = std::env::var("EXPLORE_SCHEDULES").ok();
    let schedules = schedules.map_or(1000, |text| text.parse().expect("a number of schedules"));
    let model = std::sync::Arc::new(model);
    let again = std::sync::Arc::clone(&model);
    shuttle::check_random(move || model(), schedules / 2);
    shuttle::check_pct(move || again(), schedules / 2, DEPTH);
}
