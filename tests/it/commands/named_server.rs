//! `--url` and `--token-file`: a server that is named is asked, whatever the data directory says.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::json;

use super::{Place, json_of, refused};

/// A file with a token, and the mode that says who may read it.
fn file_with(place: &Place, text: &str, mode: u32) -> PathBuf {
    let file = place.dir.with_file_name("token");
    fs::write(&file, text).expect("a file");
    fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("a mode");
    file
}

fn names(place: &Place) -> Vec<String> {
    let list = json_of(place, &["app", "list"]);
    let apps = list["data"].as_array().expect("apps");
    apps.iter().map(|app| app["name"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn the_named_server_is_asked_and_not_the_data_directory() {
    let (there, other) = (Place::new(), Place::new());
    let token = there.streamhub().run(["token", "create", "admin"]).expect(0);
    let server = there.streamhub().serve();
    server.wait_until_ready();
    let url = format!("http://{}/", server.address());
    let file = file_with(&other, token.stdout(), 0o600);
    let file = file.to_str().expect("UTF-8");

    let named = ["--url", url.as_str(), "--token-file", file];
    let run = |line: &[&str]| other.streamhub().run(named.iter().chain(line)).expect(0).json();
    assert_eq!(run(&["app", "create", "by-option", "--json"])["name"], "by-option");
    assert_eq!(run(&["audit", "prune", "--before", "2020-01-01", "--dry-run", "--json"])["entries"], 0);
    let from_env = other
        .streamhub()
        .env("STREAMHUB_URL", &url)
        .env("STREAMHUB_TOKEN_FILE", file)
        .run(["app", "create", "by-env"]);
    let _ = from_env.expect(0);
    // As a server writes it, which says where it is.
    let _ = file_with(&other, &json!({ "url": url, "token": token.stdout().trim() }).to_string(), 0o600);
    let _ = other.streamhub().run(["app", "create", "by-file", "--token-file", file]).expect(0);

    assert_eq!(names(&there), ["by-env", "by-file", "by-option"]);
    assert!(names(&other).is_empty());
    let audit = json_of(&there, &["audit", "list", "--limit", "1"]);
    assert_eq!(audit["entries"][0]["principal"], "token:1");
    assert!(server.stop().success());
}

#[test]
fn what_cannot_be_asked_is_refused_with_the_way_out() {
    let place = Place::new();
    let file = file_with(&place, "sk_wrong\n", 0o600);
    let file = file.to_str().expect("UTF-8");
    let server = place.streamhub().serve();
    server.wait_until_ready();
    let url = format!("http://{}", server.address());
    let create = ["app", "create", "news-24"];
    let with = |options: &[&str], code: i32, words: &[&str]| {
        let line: Vec<_> = create.iter().chain(options).copied().collect();
        let output = place.streamhub().run(&line).expect(code);
        for word in words {
            assert!(output.stderr().contains(word), "{word:?} is not said of {line:?}: {}", output.stderr());
        }
        assert!(!output.stderr().contains("sk_wrong"), "{}", output.stderr());
    };
    with(&["--url", &url, "--token-file", file], 1, &["does not accept", file, "way out:"]);
    with(
        &["--url", "http://127.0.0.1:1", "--token-file", file],
        1,
        &["http://127.0.0.1:1", "refused", "--url"],
    );
    with(&["--url", &url], 2, &["--token-file", "STREAMHUB_TOKEN_FILE"]);
    with(&["--token-file", file], 2, &["names no server", "--url"]);
    with(&["--url", "https://example.org", "--token-file", file], 2, &["TLS", "ssh -L"]);
    with(&["--url", "example.org", "--token-file", file], 2, &["no URL", "http://"]);
    with(&["--url", &url, "--token-file", "/no/such/file"], 5, &["/no/such/file"]);
    let _ = file_with(&place, "sk_wrong\n", 0o644);
    with(&["--url", &url, "--token-file", file], 1, &["others can read", "0644", "chmod 600"]);
    assert!(names(&place).is_empty());
    assert!(server.stop().success());
    for local in [&["status"][..], &["doctor"], &["migrate"], &["serve"], &["app", "list"], &["user", "list"]]
    {
        let _ = file_with(&place, "sk_wrong\n", 0o600);
        let line: Vec<_> = local.iter().chain(&["--url", &url, "--token-file", file]).copied().collect();
        refused(&place, &line, 2, &["data directory", "leave --url"]);
    }
}

#[test]
fn who_may_less_is_told_so() {
    let place = Place::new();
    let _ = place.streamhub().run(["tenant", "create", "acme"]).expect(0);
    let token = place.streamhub().run(["token", "create", "acme", "--tenant", "acme"]).expect(0);
    let file = file_with(&place, token.stdout(), 0o600);
    let file = file.to_str().expect("UTF-8");
    let server = place.streamhub().serve();
    server.wait_until_ready();
    let url = format!("http://{}", server.address());
    for line in [&["app", "create", "news-24"][..], &["tenant", "create", "globex"], &["node", "delete", "x"]]
    {
        let line: Vec<_> = line.iter().chain(&["--url", &url, "--token-file", file]).copied().collect();
        let output = place.streamhub().run(&line).expect(1);
        assert!(output.stderr().contains("not permitted"), "{line:?}: {}", output.stderr());
    }
    assert!(server.stop().success());
}
