//! What the writer says of its writes is what is in the file, whatever fails. `scripts/torture.sh` tries every point.

use std::io::Write as _;
use std::process::Command;

use streamhub_tests::faults::{Faults, Mode, Run};
use streamhub_tests::files::scratch;
use streamhub_tests::live::{Account, Said, database, points, probe, sweep};
use streamhub_tests::skip::need;
use streamhub_tests::sweep::Trouble;

const SEED: u64 = 7;

/// The keys that `live-probe batch` writes in one transaction; the one in the middle is a large write.
const BATCH: [i64; 5] = [10, 11, 12, 13, 14];

fn swept(name: &str, troubles: &[Trouble]) {
    let Some(points) = need(name, points(SEED)) else { return };
    assert!(points > 30, "{points} points");
    for trouble in troubles {
        let totals = sweep(points, SEED, *trouble);
        // Past the harness's capture: how much was tried belongs to the result.
        writeln!(std::io::stderr(), "{name}: {trouble}: {points} points, {totals}").expect("standard error");
        assert!(totals.wrong.is_empty(), "{}", totals.wrong.join("\n\n"));
        assert!(totals.hit > points / 4, "{totals}");
    }
}

#[test]
fn a_kill_or_a_torn_or_short_write_loses_no_acknowledged_write() {
    swept("live::writer::kill", &Trouble::ALL[..3]);
}

#[test]
fn a_full_or_broken_disk_is_an_error_of_exactly_the_writes_concerned() {
    swept("live::writer::full_or_broken", &Trouble::ALL[3..]);
}

/// Runs `live-probe batch` once for each of its operations that `concerns`, with this fault there.
fn at_each(name: &str, mode: Mode, concerns: fn(&str) -> bool) -> Option<Vec<(Run, Account)>> {
    let run = |at: Option<usize>| {
        let dir = scratch();
        let db = database(dir.path());
        let faults = need(name, Faults::on(dir.path()))?;
        let mut command = probe(&["batch", db.to_str().expect("UTF-8")]);
        let run = match at {
            Some(at) => faults.run(&mut command, at, mode),
            None => faults.count(&mut command),
        };
        let account = Account::of(&run);
        assert_eq!(account.contradictions(&db), [""; 0], "{}", run.ended.describe());
        Some((run, account))
    };
    let (undisturbed, account) = run(None)?;
    assert!(account.serves && account.writes.values().all(|said| *said == Said::Acknowledged), "{account:?}");
    let chosen = undisturbed
        .points
        .iter()
        .filter(|point| concerns(&format!("{} {}", point.operation, point.path.display())));
    chosen.map(|point| run(Some(point.n))).collect()
}

#[test]
fn a_commit_that_cannot_be_synced_is_unknown_to_the_callers_of_its_batch_and_no_others() {
    let is_sync = |point: &str| point.contains("sync") && point.ends_with("-wal");
    let Some(runs) = at_each("live::writer::unsynced", Mode::Eio, is_sync) else { return };
    let mut batches = 0;
    for (run, account) in runs {
        assert!(run.injected && account.serves, "{}", run.ended.describe());
        let unknown = account.unknown();
        assert!([&[1][..], &BATCH, &[20], &[3000], &[]].contains(&&*unknown), "{unknown:?}");
        let others = account.writes.iter().filter(|(key, _)| !unknown.contains(key));
        assert!(others.clone().all(|(_, said)| *said == Said::Acknowledged), "{}", run.ended.describe());
        batches += usize::from(unknown == BATCH);
    }
    assert_eq!(batches, 1, "the batch has one sync");
}

#[test]
fn a_disk_that_is_full_for_a_moment_fails_one_write_or_a_batch_and_nothing_of_it_is_there() {
    let is_write = |point: &str| point.contains("write") && point.ends_with("-wal");
    let Some(runs) = at_each("live::writer::full", Mode::Enospc, is_write) else { return };
    let (mut batches, mut large) = (0, 0);
    for (run, account) in runs {
        assert!(run.injected && account.serves, "{}", run.ended.describe());
        let failed: Vec<_> = account.writes.iter().filter(|(_, said)| **said != Said::Acknowledged).collect();
        let keys: Vec<_> = failed.iter().map(|(key, _)| **key).collect();
        let all = |why: &str| failed.iter().all(|(_, said)| **said == Said::Failed(why.to_owned()));
        // In the middle of the transaction it is the large one's failure alone, at the commit everybody's.
        let (is_large, is_batch) = (keys == [12] && all("lost"), keys == BATCH && all("the disk is full"));
        let is_other = [&[1][..], &[20], &[]].contains(&&*keys) && all("the disk is full");
        assert!(is_large || is_batch || is_other, "{}", run.ended.describe());
        batches += usize::from(is_batch);
        large += usize::from(is_large);
    }
    assert!(batches > 0 && large > 0, "{batches} at the commit, {large} before it");
}

/// A commit is a frame's header and a page. Where the page is the one that lies there already, the header alone
/// makes the commit whole, and only a recovery sees it.
#[test]
fn a_commit_without_room_is_not_found_by_the_next_start() {
    let name = "live::writer::alike";
    let run = |run: &dyn Fn(&Faults, &mut Command) -> Run| {
        let dir = scratch();
        let db = database(dir.path());
        let run =
            run(&need(name, Faults::on(dir.path()))?, &mut probe(&["alike", db.to_str().expect("UTF-8")]));
        let account = Account::of(&run);
        assert_eq!(account.contradictions(&db), [""; 0], "{}", run.ended.describe());
        Some((run, account))
    };
    let Some((undisturbed, account)) = run(&Faults::count) else { return };
    assert!(account.writes.len() == 4 && account.writes.values().all(|said| *said == Said::Acknowledged));
    let full = Said::Failed("the disk is full".to_owned());
    let mut failed = 0;
    for point in undisturbed.points.iter().filter(|point| point.operation.contains("write")) {
        // Where the disk stays as it is not even a sync comes back, and nobody may know.
        run(&|faults, command| faults.run_from(command, point.n, Mode::Enospc));
        let Some((_, account)) = run(&|faults, command| faults.run(command, point.n, Mode::Enospc)) else {
            return;
        };
        assert_eq!(account.unknown(), [0; 0], "at {point:?}");
        failed += usize::from(account.writes.values().any(|said| *said == full));
    }
    assert!(failed > 50, "{failed} without room at the commit itself");
}
