//! Copies by `cp -r`: what is sealed can be believed, and nothing else. `scripts/torture.sh` makes ten times as many.

use std::path::Path;

use streamhub_tests::files::scratch;
use streamhub_tests::live::program;
use streamhub_tests::process;

use super::{Site, created, id, start, streams_of};
use streamhub::{Adoption, HubError};

fn told(arguments: &[&str]) -> Vec<String> {
    let dir = scratch();
    let mut all = vec![arguments[0], dir.path().to_str().expect("UTF-8")];
    all.extend(&arguments[1..]);
    let ended = process::run(&mut program("copy-probe", &all));
    assert!(ended.success(), "{}", ended.describe());
    ended.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn of_a_live_app_no_copy_is_adopted() {
    let told = told(&["live", "20"]);
    assert_eq!(told[..2], ["20 copies, 0 adopted", "at a person's word: 0 whole, 0 torn, 20 refused"]);
}

#[test]
fn of_an_app_that_is_sealed_between_writes_no_torn_copy_is_adopted() {
    let told = told(&["sealing", "20"]);
    assert!(told[1].starts_with("20 copies, ") && told[1].contains(" 0 torn, "), "{told:?}");
    assert!(!told[1].ends_with(", 0 seals"), "{told:?}");
}

#[test]
fn every_sealed_copy_is_adopted_and_holds_the_same() {
    assert_eq!(told(&["sealed", "20"]), ["20 copies, 20 the same"]);
}

#[test]
fn an_app_moves_there_and_back_and_there_again() {
    let told = told(&["move"]);
    assert!(told[0].starts_with("refused: the same app is in the trash as \"news-24\""), "{told:?}");
    assert!(
        told[0].ends_with("`streamhub app undelete news-24` brings back what is in the trash"),
        "{told:?}"
    );
    assert_eq!(told[1..], ["moved 5 times", "the other side can bring back what it had"]);
}

fn copy(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp").arg("-r").args([from, to]).status();
    assert!(copied.is_ok_and(|status| status.success()));
}

#[test]
fn what_was_live_where_a_copy_comes_from_is_not_live_here() {
    let site = Site::new();
    let (here, there) = (site.hub_with("a", &["news-24"]), site.hub("b"));
    here.seal(&id("news-24")).expect("a seal");
    copy(&site.path("a/apps/news-24"), &site.path("copy"));
    there.adopt(&site.path("copy"), &Adoption::default()).expect("adopted");
    let live = there.app(&id("news-24")).expect("it opens");
    let live = live.read(|tx| Ok::<_, HubError>(streamhub::streams::count_active(tx)?));
    assert_eq!((live.expect("a read"), streams_of(&there, "news-24").expect("a read")), (0, 1));
    start(&there, "news-24", "news-24").expect("it begins anew");
}

#[test]
fn a_return_that_is_refused_leaves_the_trash_as_it_was() {
    let site = Site::new();
    let (one, other) = (site.hub_with("a", &["news-24"]), site.hub("b"));
    one.seal(&id("news-24")).expect("a seal");
    copy(&site.path("a/apps/news-24"), &site.path("there"));
    one.delete(&id("news-24")).expect("deleted");
    other.adopt(&site.path("there"), &Adoption::default()).expect("adopted");
    other.seal(&id("news-24")).expect("a seal");
    copy(&site.path("b/apps/news-24"), &site.path("back"));
    // Its name was given to another meanwhile.
    created(&one, "news-24");
    let refused = one.adopt(&site.path("back"), &Adoption::default()).expect_err("the name is taken");
    assert_eq!(refused.kind(), streamhub::Kind::Exists);
    one.rename(&id("news-24"), &id("another")).expect("renamed");
    one.undelete(&id("news-24")).expect("it is still in the trash");
    assert_eq!(streams_of(&one, "news-24").expect("a read"), 1);
    one.delete(&id("news-24")).expect("deleted");
    one.adopt(&site.path("back"), &Adoption::default()).expect("it went on elsewhere");
    assert!(matches!(one.undelete(&id("news-24")), Err(HubError::NotFound { .. })));
    one.close().and_then(|()| other.close()).expect("closed");
}
