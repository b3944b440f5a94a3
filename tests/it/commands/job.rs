//! `streamhub job`: what goes on where the command that asked for it is interrupted.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::{Place, json_of};

#[test]
fn a_job_whose_command_is_interrupted_is_found_and_cancelled() {
    let place = Place::with_app("news-24");
    let server = place.streamhub().serve();
    server.wait_until_ready();
    let said = fs::read_to_string(place.path("streamhub.server.json")).expect("the server's file");
    let said: Value = serde_json::from_str(&said).expect("JSON");
    let bearer = format!("Bearer {}", said["token"].as_str().expect("a token"));
    let headers = [("Authorization", &*bearer), ("Content-Type", "application/json")];
    let live = json!({ "streamId": "live/cam", "type": "rtmp" }).to_string();
    assert_eq!(server.request("POST", "/api/v1/apps/news-24/streams", &headers, &live).status, 201);

    let mut command = place.streamhub().command(["app", "optimize", "news-24"]);
    let mut waiting = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("a process");
    let stderr = BufReader::new(waiting.stderr.take().expect("standard error"));
    let told =
        stderr.lines().map_while(Result::ok).find(|line| line.contains("live stream")).expect("a step");
    let pid = Pid::from_raw(waiting.id().try_into().expect("a pid"));
    kill(pid, Signal::SIGINT).expect("it is there");
    assert!(!waiting.wait().expect("it ends").success());

    let id = told.strip_prefix("job ").and_then(|rest| rest.split_once(':')).expect("an id").0;
    let shown = json_of(&place, &["job", "show", id]);
    assert_eq!((&shown["data"]["state"], &shown["data"]["kind"]), (&json!("queued"), &json!("optimize")));
    let listed = json_of(&place, &["job", "list", "--app", "news-24"]);
    assert_eq!(listed["data"], json!([shown["data"]]));
    assert_eq!(json_of(&place, &["job", "list", "--app", "radio-1"])["data"], json!([]));
    let cancelled = json_of(&place, &["job", "cancel", id]);
    assert_eq!(cancelled["data"]["state"], "cancelled");
    assert_eq!(json_of(&place, &["job", "cancel", id]), cancelled, "what is over stays as it is");
    assert!(server.stop().success());

    let people = place.streamhub().run(["job", "show", id]).expect(0);
    assert!(people.stdout().contains("cancelled"), "{}", people.stdout());
    let _ = place.streamhub().run(["job", "show", "no-id"]).expect(2);
}
