//! What changes something does the same whether or not a server has the data directory: the same text, the same
//! exit codes, and both are told of in the audit.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;

use serde_json::{Value, json};
use streamhub::progress::Silent;
use streamhub::{Hub, HubConfig};
use streamhub_tests::files::copy_tree;

use super::{Place, json_of};

/// Commands of which each finds what those before it made.
const LINES: &[&str] = &[
    "tenant create acme --name Acme",
    "tenant create acme",
    "tenant update acme --plan gold --json",
    "tenant update nobody --plan gold",
    "tenant quota acme --max-apps 1 --json",
    "tenant quota nobody --max-apps 1",
    "app create news-24 --tenant acme --display-name News --room-prefix n- --json",
    "app create radio --tenant acme",
    "app create news-24",
    "app create radio --tenant nobody",
    "app rename news-24 news",
    "app rename nobody news-24",
    "app create talk",
    "app rename talk news",
    "app check news --json",
    "app optimize news --json",
    "app optimize nobody",
    "app checkpoint news",
    "app purge news --confirm --scope vods",
    "app health news",
    "app health nobody",
    "app seal news",
    "app seal nobody",
    "app delete news",
    "app delete news",
    "app undelete news --json",
    "app undelete nobody",
    "app delete talk --lost",
    "app adopt COPY --json",
    "app adopt COPY",
    "app rename sport tennis",
    "app adopt COPY",
    "app delete tennis",
    "app adopt COPY --tenant acme",
    "app undelete tennis",
    "app adopt NOWHERE",
    "app adopt UNSEALED",
    "app adopt COPY --tenant nobody",
    "user create anna@example.org --superadmin",
    "user create ANNA@example.org",
    "user create bert@example.org --name Bert --json",
    "user status anna@example.org disabled",
    "user status bert@example.org disabled --json",
    "user status nobody@example.org active",
    "user reset-password bert@example.org",
    "user reset-password bert@example.org --json",
    "user reset-password nobody@example.org",
    "user remove-second-factor bert@example.org",
    "user remove-second-factor nobody",
    "tenant member add acme bert@example.org --role editor --json",
    "tenant member add acme bert@example.org",
    "tenant member add acme nobody",
    "tenant member add nobody bert@example.org",
    "tenant member change acme bert@example.org --role owner --json",
    "tenant member change acme anna@example.org --role owner",
    "tenant member change acme nobody --role owner",
    "tenant member change nobody bert@example.org --role owner",
    "tenant member remove acme anna@example.org",
    "tenant member remove acme BERT@example.org --json",
    "tenant member remove nobody anna@example.org",
    "user delete anna@example.org",
    "user delete bert@example.org --json",
    "user delete bert@example.org",
    "token create ci --app news",
    "token create ci --app nobody",
    "token create all --tenant acme --allow-ip 10.0.0.0/8 --json",
    "token create all --tenant nobody",
    "token create edge --node",
    "token revoke 1",
    "token revoke 404",
    "node create edge-1 --address https://edge-1.example.org --region eu",
    "node create edge-1",
    "node create edge-2 --address nonsense",
    "node status edge-1 draining --json",
    "node status nobody active",
    "node delete edge-1 --json",
    "node delete edge-1",
    "job show 0b5c6d1e-4f0a-4c39-9d0e-7a1b2c3d4e5f",
    "job cancel 0b5c6d1e-4f0a-4c39-9d0e-7a1b2c3d4e5f",
    "audit prune --before 2020-01-01 --json",
    "audit prune --before 2020-01-01 --dry-run",
    "logs prune --before 2020-01-01",
];

/// What a command said: its exit code, its result, and its last words.
fn said(place: &Place, line: &str, elsewhere: &Path) -> String {
    let words = line.split(' ').map(|word| match word {
        "COPY" | "NOWHERE" | "UNSEALED" => elsewhere.join(word.to_lowercase()).display().to_string(),
        word => word.to_owned(),
    });
    let output = place.streamhub().run(words);
    // How far something is may be seen or not.
    let is_said = |line: &&str| {
        ["error:", "way out:", "token "].iter().any(|beginning| line.starts_with(beginning))
            || line.contains(" is made, as ")
            || line.contains(" has a new password")
    };
    let last: Vec<_> = output.stderr().lines().filter(is_said).collect();
    let text = format!("{line}\n{:?}\n{}\n{}", output.code(), output.stdout(), last.join("\n"));
    masked(&text.replace(&place.dir.display().to_string(), "DIR"))
}

/// Without what is another one each time: times, keys, hashes, secrets.
fn masked(text: &str) -> String {
    let is_within = |c: char| c.is_ascii_alphanumeric() || "-_.:+=".contains(c);
    let mut masked = String::new();
    for word in text.split_inclusive(|c| !is_within(c)) {
        let bare = word.trim_end_matches(|c| !is_within(c));
        if bare.len() < 24 {
            masked.push_str(word);
        } else {
            masked.push('*');
            masked.push_str(&word[bare.len()..]);
        }
    }
    masked
}

/// Two copies of one app, one of them without its seal.
fn copies(home: &Path) {
    let place = Place::new();
    let _ = place.streamhub().run(["tenant", "create", "globex"]).expect(0);
    for (name, copy) in [("sport", "copy"), ("film", "unsealed")] {
        let _ = place.streamhub().run(["app", "create", name, "--tenant", "globex"]).expect(0);
        let _ = place.streamhub().run(["app", "seal", name]).expect(0);
        copy_tree(&place.path("apps").join(name), &home.join(copy));
    }
    fs::remove_file(home.join("unsealed/app.seal")).expect("a seal");
}

fn principals(place: &Place) -> Vec<String> {
    let audit = json_of(place, &["audit", "list"]);
    let entries = audit["entries"].as_array().expect("entries");
    let mut names: Vec<_> =
        entries.iter().map(|entry| entry["principal"].as_str().expect("a name").to_owned()).collect();
    names.sort();
    names.dedup();
    names
}

#[test]
fn each_change_is_the_same_with_a_server_and_without() {
    let home = streamhub_tests::files::scratch();
    copies(home.path());
    let (alone, there) = (Place::new(), Place::new());
    let server = there.streamhub().serve();
    server.wait_until_ready();
    let mut different = Vec::new();
    for line in LINES {
        if *line == "app delete talk --lost" {
            for place in [&alone, &there] {
                fs::remove_dir_all(place.path("apps/talk")).expect("a directory");
            }
        }
        let (here, there) = (said(&alone, line, home.path()), said(&there, line, home.path()));
        if here != there {
            different.push(format!("without a server:\n{here}\nwith one:\n{there}"));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n----\n"));
    assert!(server.stop().success());
    assert_eq!(principals(&alone), [format!("cli:{}", nix::unistd::getuid())]);
    assert_eq!(principals(&there), ["local"]);
    for place in [&alone, &there] {
        let _ = place.streamhub().run(["doctor"]).expect(0);
    }
}

/// The API does not say where on its machine something lies.
#[test]
fn a_directory_in_the_way_is_told_of_with_its_way_out() {
    let place = Place::new();
    fs::create_dir(place.path("apps/in-the-way")).expect("a directory");
    let server = place.streamhub().serve();
    server.wait_until_ready();
    let refused = place.streamhub().run(["app", "create", "in-the-way"]).expect(6);
    for word in ["directory", "app adopt"] {
        assert!(refused.stderr().contains(word), "{word}: {}", refused.stderr());
    }
    assert!(server.stop().success());
}

#[test]
fn an_app_whose_directory_is_lost_is_told_of_with_its_way_out() {
    let place = Place::new();
    for app in ["news-24", "radio-1"] {
        let _ = place.streamhub().run(["app", "create", app]).expect(0);
    }
    fs::remove_dir_all(place.path("apps/news-24")).expect("a directory");
    let refused = || {
        let refused = place.streamhub().run(["app", "delete", "news-24"]).expect(1);
        for words in
            ["the app's directory or its database is missing", "is the disk mounted?", "app delete --lost"]
        {
            assert!(refused.stderr().contains(words), "{words}: {}", refused.stderr());
        }
    };
    refused();
    let server = place.streamhub().serve();
    server.wait_until_ready();
    refused();
    assert!(server.stop().success());
}

#[test]
fn an_app_that_goes_to_the_trash_damaged_is_told_of() {
    for is_served in [false, true] {
        let place = Place::new();
        for app in ["news-24", "radio-1"] {
            let _ = place.streamhub().run(["app", "create", app]).expect(0);
            fs::write(place.path("apps").join(app).join("app.db"), "not a database").expect("a file");
        }
        let server = is_served.then(|| {
            let server = place.streamhub().serve();
            server.wait_until_ready();
            server
        });
        let people = place.streamhub().run(["app", "delete", "news-24"]).expect(0);
        for word in ["undelete", "refuses it until", "app.db"] {
            assert!(people.stdout().contains(word), "{word}: {}", people.stdout());
        }
        let deleted = json_of(&place, &["app", "delete", "radio-1"]);
        let flaw = deleted["flaw"].as_str().unwrap_or_else(|| panic!("{deleted}"));
        assert_eq!((&deleted["deleted"], &deleted["name"]), (&json!(true), &json!("radio-1")));
        assert!(flaw.contains("radio-1/app.db"), "{flaw}");
        assert!(!is_served || !flaw.contains(&*place.dir.display().to_string()), "{flaw}");
        if let Some(server) = server {
            assert!(server.stop().success());
        }
    }
}

/// What the server that runs says of itself.
fn announced(place: &Place) -> Value {
    let text = fs::read_to_string(place.path("streamhub.server.json")).expect("the file");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn what_a_server_says_of_itself_is_for_its_owner_and_goes_with_it() {
    let place = Place::new();
    let server = place.streamhub().serve_with(["--listen", "0.0.0.0:0"]);
    server.wait_until_ready();
    let file = place.path("streamhub.server.json");
    let mode = fs::metadata(&file).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let first = announced(&place);
    assert_eq!(first["url"], format!("http://127.0.0.1:{}", server.address().port()));
    for reading in [&["status"][..], &["doctor"], &["app", "list"]] {
        let _ = place.streamhub().run(reading).expect(0);
    }
    assert!(server.stop().success());
    assert!(!file.exists());

    let server = place.streamhub().serve();
    let second = announced(&place);
    assert_ne!(first["token"], second["token"]);
    server.kill();
    assert!(file.exists(), "nobody removed it");
    for reading in [&["status"][..], &["doctor"], &["migrate"]] {
        let _ = place.streamhub().run(reading).expect(0);
    }
    let server = place.streamhub().serve();
    assert_ne!(second["token"], announced(&place)["token"]);
    server.kill();
    // Nobody has the data directory, whatever the file says.
    let _ = place.streamhub().run(["app", "create", "news-24"]).expect(0);
    assert!(!file.exists());
}

#[test]
fn the_token_counts_on_this_machine_alone_and_with_nobody_in_between() {
    let place = Place::new();
    // Even a proxy that is trusted is somebody in between.
    let server = place.streamhub().env("STREAMHUB_TRUSTED_PROXIES", "127.0.0.1").serve();
    server.wait_until_ready();
    let token = announced(&place)["token"].as_str().expect("a token").to_owned();
    let bearer = format!("Bearer {token}");
    let ask = |header: &[(&str, &str)], path: &str| {
        let own = [("Authorization", bearer.as_str()), ("X-Cluster-Token", token.as_str())];
        let headers: Vec<_> = own.iter().chain(header).copied().collect();
        server.request("GET", path, &headers, "").status
    };
    assert_eq!(ask(&[], "/api/v1/users"), 200);
    for name in ["X-Forwarded-For", "Forwarded", "X-Real-IP"] {
        for from in ["127.0.0.1", "192.0.2.1", ""] {
            assert_eq!(ask(&[(name, from)], "/api/v1/users"), 401, "{name}: {from}");
        }
    }
    assert_eq!(ask(&[], "/api/v1/account"), 403, "it is nobody's session");
    assert!(server.stop().success());
}

/// A server that is not ready at first, and then makes whatever app it is asked for.
fn slow(not_ready: usize) -> (String, thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let app = json!({
        "id": 1, "name": "news-24", "displayName": null, "livekitRoomPrefix": null, "createdAt": "", "updatedAt": "",
        "settingsJson": null, "tenantId": "platform", "state": "active",
    });
    let booting = json!({
        "statusCode": 503, "error": "", "message": "the databases are being opened", "code": "booting", "requestId": "1",
    });
    let answering = thread::spawn(move || {
        let mut asked = Vec::new();
        while asked.last().is_none_or(|line: &String| !line.starts_with("POST")) {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut buffer = [0; 4096];
            let read = stream.read(&mut buffer).expect("a request");
            let head = String::from_utf8_lossy(&buffer[..read]).into_owned();
            asked.push(head.lines().next().unwrap_or_default().to_owned());
            let (status, body) = match asked.len() {
                count if count <= not_ready => ("503 Service Unavailable", booting.to_string()),
                _ if head.starts_with("GET") => ("200 OK", "{}".to_owned()),
                _ => ("201 Created", app.to_string()),
            };
            let answer = format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).expect("an answer");
        }
        asked
    });
    (url, answering)
}

/// Has a data directory as a server does, and says of it what is given.
fn held(place: &Place, said: &Value) -> Hub {
    let hub = Hub::open(&HubConfig::new(&place.dir), &Silent).expect("a hub");
    let file = place.path("streamhub.server.json");
    fs::write(&file, said.to_string()).expect("the file");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("a mode");
    hub
}

#[test]
fn a_server_that_opens_its_databases_is_waited_for() {
    let place = Place::new();
    let (url, answering) = slow(3);
    let hub = held(&place, &json!({ "url": url, "token": "sl_x" }));
    let made = place.streamhub().run(["app", "create", "news-24"]).expect(0);
    assert_eq!(made.stdout(), "news-24 of tenant platform is made\n");
    let asked = answering.join().expect("no panic");
    let ready = "GET /api/v1/ready HTTP/1.1";
    assert_eq!(asked, [ready, ready, ready, ready, "POST /api/v1/apps HTTP/1.1"]);
    hub.close().expect("closed");
}

#[test]
fn a_server_that_does_not_answer_is_named_with_the_way_out() {
    let place = Place::new();
    let hub = held(&place, &json!({ "url": "http://127.0.0.1:1", "token": "sl_secret" }));
    let says = |words: &[&str]| {
        let output = place.streamhub().run(["app", "create", "news-24"]).expect(1);
        for word in words {
            assert!(output.stderr().contains(word), "{word:?} is not said: {}", output.stderr());
        }
        assert!(!output.stderr().contains("sl_secret"), "{}", output.stderr());
    };
    says(&["http://127.0.0.1:1", "refused", "streamhub.server.json", "--url"]);
    fs::write(place.path("streamhub.server.json"), "{").expect("the file");
    says(&["streamhub.server.json", "start the server again"]);
    hub.close().expect("closed");
}
