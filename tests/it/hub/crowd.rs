//! Very many apps, few files: the right app always, nothing lost, never more open than may be. `scripts/torture.sh`
//! does it for ten minutes.

use std::path::Path;

use streamhub_tests::files::scratch;
use streamhub_tests::live::program;
use streamhub_tests::process;

const APPS: &str = "1200";
const SECONDS: &str = "15";

fn told(verb: &str, dir: &Path, further: &[&str]) -> Vec<String> {
    let mut all = vec![verb, dir.to_str().expect("UTF-8"), APPS];
    all.extend(further);
    let ended = process::run(&mut program("crowd-probe", &all));
    assert!(ended.success(), "{}", ended.describe());
    ended.stdout.lines().map(str::to_owned).collect()
}

fn first_number(line: &str) -> usize {
    line.split(' ').next().and_then(|word| word.parse().ok()).expect("a number comes first")
}

#[test]
fn d10_however_many_apps_are_opened_and_stormed_the_limit_of_files_holds() {
    let dir = scratch();
    told("make", dir.path(), &[]);
    let opened = told("open", dir.path(), &[]);
    assert_eq!(opened[0], format!("{APPS} of {APPS} apps read"));
    // Half of 256 is for apps, and is used; how many more there may be the probe judges itself.
    assert!(first_number(&opened[1]) > 120, "{opened:?}");
    let storm = told("storm", dir.path(), &[SECONDS, "7"]);
    assert!(first_number(&storm[0]) > 1000, "{storm:?}");
    assert_eq!(storm[1], "0 apps lack or have too much");
    assert!(first_number(&storm[2]) > 120, "{storm:?}");
    // Sixteen work, each of which waits for one more while that closes an app in its stead; besides them there is
    // one that looks after things, and a few that many share.
    assert!(first_number(&storm[3]) <= 2 * 16 + 8, "{storm:?}");
    assert!(first_number(&storm[4]) > 1200, "{storm:?}");
    assert_eq!(storm[5], "left over: 0 files, 0 threads");
}
