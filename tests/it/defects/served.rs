//! What the older system gets wrong as a server.
//!
//! S3, that any forwarded address is believed, and S11, that each request writes, are beside what else is
//! said of identity in `http::identity`.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use streamhub::access::Login;
use streamhub::jobs::{Job, JobState, NewJob, Work};
use streamhub::password::Password;
use streamhub::progress::Silent;
use streamhub::users::NewUser;
use streamhub::vods::NewVod;
use streamhub::{Hub, HubConfig, HubError, NewApp, TenantId, Volatile, streams};
use streamhub_tests::command::Streamhub;
use streamhub_tests::disk::Disk;
use streamhub_tests::files::scratch;
use streamhub_tests::skip::need;

use crate::http::Site;

const PASSWORD: &str = "correct horse battery";

#[test]
fn s1_no_database_and_no_configuration_is_served() {
    let site = Site::new();
    site.tenant("acme");
    site.app("acme", "news-24");
    let secret = "hush-hush-hush";
    let config = json!({ "callbacks": { "secret": secret }, "webhook_key": secret });
    assert_eq!(site.ask("PATCH", "/apps/news-24/config", &site.root, Some(&config)).status, 200);
    let bearer = format!("Bearer {}", site.root);
    let credentials = [vec![], vec![("Authorization", &*bearer)]];
    let inside = [
        "app.db",
        "app.db-wal",
        "app.db-shm",
        "app.seal",
        "config.yaml",
        "hls/../app.db",
        "recordings/..%2fapp.db",
    ];
    let mut paths: Vec<String> = Vec::new();
    for above in
        ["", "/hls", "/apps", "/media", "/static", "/files", "/recordings", "/snapshots", "/data/apps"]
    {
        for base in ["", "/api/v1"] {
            paths.extend(inside.iter().map(|file| format!("{base}{above}/news-24/{file}")));
            for file in [
                "streamhub.db",
                "streamhub.db-wal",
                "streamhub.yaml",
                "secrets.json",
                "data/streamhub.db",
                "..%2fstreamhub.db",
                "backups/",
            ] {
                paths.push(format!("{base}{above}/{file}"));
            }
        }
    }
    for path in &paths {
        for headers in &credentials {
            let answer = site.server.request("GET", path, headers, "");
            assert!(matches!(answer.status, 400 | 404 | 401), "{path}: {answer:?}");
            assert_eq!(answer.header("content-type"), Some("application/json"), "{path}");
        }
    }
    // What is asked for in good order shows neither.
    let mut asked = 0;
    for (method, path, ..) in streamhub_server::policies() {
        if method != "GET" || path.ends_with("/events") {
            continue;
        }
        let path = path.replace("{app}", "news-24").replace("{tenant}", "acme").replace("{name}", "news-24");
        let answer = site.get(&site.root, &path);
        assert!(
            !answer.body.contains("SQLite format 3") && !answer.body.contains(secret),
            "{path}: {answer:?}"
        );
        asked += usize::from(answer.status == 200);
    }
    assert!(asked > 20, "{asked} answers");
}

#[test]
fn s2_a_name_makes_no_database_outside() {
    let site = Site::new();
    site.tenant("acme");
    site.app("acme", "news-24");
    let names = |place: &str| {
        let found = fs::read_dir(site.data_dir().join(place)).expect("a directory");
        found.map(|entry| entry.expect("an entry").file_name()).collect::<BTreeSet<_>>()
    };
    let places = ["..", ".", "apps"];
    let before = places.map(names);
    let long = "a".repeat(33);
    let hostile = [
        "../../x",
        "..",
        ".",
        "",
        "/etc/x",
        "a/../../x",
        "..\\x",
        "a\0b",
        "a b",
        "ab",
        "-abc",
        "abc-",
        "ABC",
        "a_b",
        "äbc",
        "\u{ff0e}\u{ff0e}/x",
        "news-24/../x",
        ".trash",
        ".staging",
        "app.db",
        "%2e%2e%2fx",
        "abc\n",
        &long,
    ];
    for name in hostile {
        for (path, body) in [
            ("/apps", json!({ "name": name, "tenantId": "acme" })),
            ("/apps/news-24/rename", json!({ "name": name })),
        ] {
            let refused = site.post(&site.root, path, &body);
            assert_eq!(
                (refused.status, &refused.json()["code"]),
                (400, &json!("invalid_body")),
                "{path} {name:?}"
            );
        }
    }
    assert_eq!(places.map(names), before);
    assert_eq!(site.get(&site.root, "/apps").json()["total"], 1);
}

#[test]
fn s4_a_broken_allow_list_lets_nobody_in_and_networks_of_ipv6_count() {
    let site = Site::served(|streamhub: Streamhub| streamhub.env("STREAMHUB_TRUSTED_PROXIES", "127.0.0.1"));
    let token = site
        .token(&json!({ "name": "t", "scope": "global", "allowedIps": ["127.0.0.0/8", "2001:db8:7::/48"] }));
    let ask = |site: &Site, from: Option<&str>| {
        let bearer = format!("Bearer {token}");
        let mut headers = vec![("Authorization", &*bearer)];
        headers.extend(from.map(|from| ("X-Forwarded-For", from)));
        site.server.request("GET", "/api/v1/apps", &headers, "").status
    };
    assert_eq!(ask(&site, None), 200);
    for (from, status) in
        [("2001:db8:7:ffff::1", 200), ("2001:db8:8::1", 401), ("::ffff:127.0.0.1", 200), ("::1", 401)]
    {
        assert_eq!(ask(&site, Some(from)), status, "{from}");
    }
    let broken = [
        "{",
        "[",
        "null,",
        "\"127.0.0.1\"",
        "{\"127.0.0.1\":true}",
        "[1]",
        "[null]",
        "[[\"127.0.0.1\"]]",
        "[\"127.0.0.1\",\"nonsense\"]",
        "[\"127.0.0.0/33\"]",
        "[\"127.0.0.1/8/8\"]",
        "[\"2001:db8::/129\"]",
        "[\"\"]",
        "127.0.0.1",
        "true",
        "[\"127.0.0.1\"] x",
    ];
    let mut site = site;
    for list in broken {
        let wanted = list.to_owned();
        site = site.killed_and_started(move |control| {
            let changed =
                control.execute("UPDATE api_tokens SET allowed_ips_json = ?1", [wanted]).expect("a token");
            assert_eq!(changed, 1);
        });
        assert_eq!(ask(&site, None), 401, "{list}");
    }
    let site = site.killed_and_started(|control| {
        control.execute("UPDATE api_tokens SET allowed_ips_json = '[\"127.0.0.1\"]'", []).expect("a token");
    });
    assert_eq!(ask(&site, None), 200, "it is the list that was broken");
}

fn open(dir: &tempfile::TempDir) -> Hub {
    let mut config = HubConfig::new(dir.path().join("data"));
    config.volatile = Volatile::Permit;
    Hub::open(&config, &Silent).expect("a hub")
}

#[test]
fn s6_an_unknown_account_costs_as_much_as_a_wrong_password() {
    let dir = scratch();
    let hub = open(&dir);
    let hash =
        hub.hash_password(&Password::chosen(PASSWORD.to_owned()).expect("long enough")).expect("a hash");
    for (email, password) in [("ana@example.org", Some(hash)), ("none@example.org", None)] {
        let email = email.parse().expect("an address");
        hub.create_user(&NewUser { email, name: None, password, is_superadmin: false }).expect("a user");
    }
    let cost = |email: &str, password: &str| {
        let before = hub.password_hashes();
        let answer = hub.login(&Login::new(email, Password::offered(password.to_owned())));
        (hub.password_hashes() - before, answer.map(drop).map_err(|error| error.to_string()))
    };
    let wrong = cost("ana@example.org", "a wrong guess");
    assert_eq!((wrong.0, wrong.1.is_err()), (1, true));
    for email in ["nobody@example.org", "none@example.org", "no address at all", "", "ana@example.org"] {
        assert_eq!(cost(email, "a wrong guess"), wrong, "{email:?}");
    }
    assert_eq!(cost("ana@example.org", PASSWORD), (1, Ok(())));
    hub.close().expect("closed");
}

#[test]
fn s6_hashing_keeps_nobody_from_being_answered() {
    let site = Site::new();
    let logins = 8;
    let over = AtomicUsize::new(0);
    let meanwhile = thread::scope(|scope| {
        for _ in 0..logins {
            scope.spawn(|| {
                site.log_in("root@example.org");
                over.fetch_add(1, Ordering::SeqCst);
            });
        }
        let mut meanwhile = 0;
        while over.load(Ordering::SeqCst) < logins {
            assert_eq!(site.get("", "/health").status, 200);
            assert_eq!(site.get(&site.root, "/apps").status, 200);
            meanwhile += usize::from(over.load(Ordering::SeqCst) < logins);
        }
        meanwhile
    });
    assert!(meanwhile > logins, "{meanwhile} rounds of requests while {logins} passwords were hashed");
}

fn over(hub: &Hub, job: &Job) -> Job {
    let begun = Instant::now();
    loop {
        let job = hub.job(&job.id).expect("a job");
        if job.state.is_over() {
            return job;
        }
        assert!(begun.elapsed() < Duration::from_mins(1), "{job:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn with_app(hub: &Hub, recordings: usize) {
    let id = "news-24".parse().expect("a name");
    hub.create(&NewApp::new(id, TenantId::platform())).expect("an app");
    let app = hub.app(&"news-24".parse().expect("a name")).expect("in service");
    for number in 0..recordings {
        let metatags_json = Some(format!("\"{}\"", "x".repeat(20_000)));
        app.create_vod(NewVod { metatags_json, ..NewVod::named(number.to_string()) }).expect("a recording");
    }
}

#[test]
fn d15_on_a_full_disk_an_optimisation_is_a_job_that_failed() {
    let Some(disk) = need("defects::d15", Disk::make(64)) else { return };
    let hub = Hub::open(&HubConfig::new(disk.path().join("data")), &Silent).expect("a hub");
    with_app(&hub, 300);
    let optimize = || {
        let begun = hub.start_job(&NewJob::new(Work::Optimize, "news-24".parse().expect("a name")));
        let begun = begun.expect("a job");
        assert_eq!((begun.state, begun.result.is_none()), (JobState::Queued, true), "nobody waits for it");
        over(&hub, &begun)
    };
    let filler = disk.fill(3 << 20);
    let failed = optimize();
    let error = failed.error.as_ref().expect("a reason");
    assert_eq!(
        (failed.state, &*error.code, &failed.result),
        (JobState::Failed, "no_space", &None),
        "{failed:?}"
    );
    assert!(error.message.chars().any(|c| c.is_ascii_digit()), "it says how much it takes: {error:?}");
    let app = hub.app(&"news-24".parse().expect("a name")).expect("still in service");
    app.read(|tx| streams::count_active(tx).map_err(HubError::from)).expect("and read");
    drop(app);
    drop(filler);
    let done = optimize();
    assert_eq!(done.state, JobState::Succeeded, "{done:?}");
    hub.close().expect("closed");
}

#[test]
fn d15_a_checkpoint_that_is_in_somebodys_way_is_a_job_that_failed() {
    let dir = scratch();
    let hub = open(&dir);
    with_app(&hub, 1);
    let id = || "news-24".parse().expect("a name");
    let app = hub.app(&id()).expect("in service");
    let ((begun, has_begun), (go, wait)) = (mpsc::channel(), mpsc::channel::<()>());
    thread::scope(|scope| {
        let reading = app.clone();
        scope.spawn(move || {
            reading.read(|tx| {
                streams::count_active(tx)?;
                begun.send(()).expect("somebody waits");
                let _ = wait.recv();
                Ok::<_, HubError>(())
            })
        });
        has_begun.recv().expect("it reads");
        app.create_vod(NewVod::named("b")).expect("a recording");
        let failed = over(&hub, &hub.start_job(&NewJob::new(Work::Checkpoint, id())).expect("a job"));
        let code = failed.error.as_ref().map(|error| &*error.code);
        assert_eq!((failed.state, code), (JobState::Failed, Some("busy")), "{failed:?}");
        go.send(()).expect("it waits");
    });
    drop(app);
    let done = over(&hub, &hub.start_job(&NewJob::new(Work::Checkpoint, id())).expect("a job"));
    assert_eq!(done.state, JobState::Succeeded, "{done:?}");
    hub.close().expect("closed");
}
