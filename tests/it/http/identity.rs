//! Who asks: tokens, sessions, addresses.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use serde_json::{Value, json};
use streamhub_tests::command::Streamhub;

use super::{PASSWORD, Site};

#[test]
fn every_refused_credential_gets_the_same_answer() {
    let site = Site::new();
    let elsewhere = site.token(&json!({ "name": "t", "scope": "global", "allowedIps": ["2001:db8::/32"] }));
    let without_id = |credential: &str| {
        let answer = site.get(credential, "/apps");
        let mut body = answer.json();
        body["requestId"].take();
        (answer.status, answer.header("www-authenticate").map(str::to_owned), body)
    };
    let anonymous = without_id("");
    assert_eq!(anonymous.0, 401);
    for credential in ["sk_garbage", "ss_garbage", "x", &elsewhere] {
        assert_eq!(without_id(credential), anonymous, "{credential}");
    }
    for header in ["Basic cm9vdDpyb290", "Bearer", "Bearer ", "bearer\tsk_x", "sk_x"] {
        let answer = site.server.request("GET", "/api/v1/apps", &[("Authorization", header)], "");
        assert_eq!(answer.status, 401, "{header:?}");
    }
}

/// Requests under way on connections of their own, sent one after the other without waiting for an answer.
fn under_way(site: &Site, token: &str, connections: usize, each: usize) -> Vec<TcpStream> {
    let ask = |last: bool| {
        let closing = if last { "Connection: close\r\n" } else { "" };
        format!("GET /api/v1/apps HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{closing}\r\n")
    };
    let requests: String = (1..=each).map(|number| ask(number == each)).collect();
    let connect = |_| {
        let mut stream = TcpStream::connect(site.server.address()).expect("a connection");
        stream.write_all(requests.as_bytes()).expect("requests are sent");
        stream
    };
    (0..connections).map(connect).collect()
}

/// How many of them were answered with each of two statuses.
fn answered(streams: Vec<TcpStream>, statuses: [u16; 2]) -> [usize; 2] {
    let mut all = String::new();
    for mut stream in streams {
        stream.read_to_string(&mut all).expect("answers");
    }
    statuses.map(|status| all.matches(&format!("HTTP/1.1 {status}")).count())
}

#[test]
fn a_revoked_token_stops_working_while_a_thousand_requests_are_under_way() {
    let site = Site::new();
    let made = site.made("/tokens", &json!({ "name": "t", "scope": "global" }));
    let token = made["token"].as_str().expect("a token");
    assert_eq!(site.get(token, "/apps").status, 200);
    let before = under_way(&site, token, 200, 5);
    assert_eq!(site.ask("DELETE", &format!("/tokens/{}", made["id"]), &site.root, None).status, 204);
    // What begins after the revocation was answered is refused, although those before are not all answered.
    let after = under_way(&site, token, 40, 25);
    assert_eq!(answered(after, [200, 401]), [0, 1000]);
    assert_eq!(answered(before, [200, 401]).iter().sum::<usize>(), 1000);
}

#[test]
fn sessions_are_listed_and_end_when_they_are_told_to() {
    let site = Site::new();
    let (one, other) = (site.log_in("root@example.org"), site.log_in("root@example.org"));
    let listed = site.get(&one, "/auth/sessions").json();
    assert_eq!(listed["total"], 3);
    // Those that began last come first.
    let current: Vec<bool> =
        listed["data"].as_array().expect("a list").iter().map(|session| session["current"] == true).collect();
    assert_eq!(current, [false, true, false]);
    assert!(!listed.to_string().contains("ss_"), "no token is shown: {listed}");
    assert_eq!(site.ask("POST", "/auth/logout", &other, None).status, 204);
    assert_eq!(site.get(&other, "/account").status, 401);
    assert_eq!(site.get(&one, "/account").json()["email"], "root@example.org");

    // Somebody else's session is not there.
    let ana = site.person("ana@example.org", None);
    let id = listed["data"][0]["id"].as_str().expect("an id");
    assert_eq!(site.ask("DELETE", &format!("/auth/sessions/{id}"), &ana, None).status, 404);
    assert_eq!(site.ask("DELETE", "/auth/sessions", &one, None).status, 204);
    assert_eq!([&one, &site.root].map(|session| site.get(session, "/account").status), [401, 401]);
    assert_eq!(site.get(&ana, "/account").status, 200);
}

#[test]
fn a_login_is_refused_in_one_way_and_throttled_over_a_restart() {
    let site = Site::new();
    let login = |site: &Site, email: &str| {
        let answer = site.post("", "/auth/login", &json!({ "email": email, "password": "a wrong guess" }));
        let mut body = answer.json();
        body["requestId"].take();
        (answer.status, body)
    };
    let wrong = login(&site, "root@example.org");
    assert_eq!(wrong.0, 401);
    assert_eq!(login(&site, "nobody@example.org"), wrong);
    for _ in 0..9 {
        login(&site, "root@example.org");
    }
    let site = site.killed_and_started(|_| {});
    let body = json!({ "email": "Root@Example.org", "password": PASSWORD });
    let throttled = site.post("", "/auth/login", &body);
    assert_eq!((throttled.status, &throttled.json()["code"]), (429, &json!("too_many_attempts")));
    let wait: u64 = throttled.header("retry-after").expect("how long").parse().expect("seconds");
    assert!((1..=900).contains(&wait), "{wait}");
    // The audit tells of the first one, whoever asks how often.
    for _ in 0..3 {
        assert_eq!(site.post("", "/auth/login", &body).status, 429);
    }
    let audit = site.get(&site.root, "/audit?limit=5").json();
    let entry = &audit["entries"][0];
    assert_eq!(
        [&entry["principal"], &entry["action"], &entry["outcome"]],
        ["anonymous", "session.login", "refused"]
    );
    assert_eq!((entry["address"].as_str(), entry["target"].is_string()), (Some("127.0.0.1"), true));
    let told = audit["entries"].as_array().expect("a list").iter();
    let throttled =
        |entry: &&Value| entry["detailJson"].as_str().is_some_and(|it| it.contains("too_many_attempts"));
    assert_eq!(told.filter(throttled).count(), 1, "{audit}");
    // The session that was there goes on.
    assert_eq!(site.get(&site.root, "/account").status, 200);
}

#[test]
fn s3_a_forwarded_address_counts_only_from_a_trusted_proxy() {
    let ask = |site: &Site, token: &str, forwarded: Option<&str>| {
        let bearer = format!("Bearer {token}");
        let mut headers = vec![("Authorization", bearer.as_str())];
        headers.extend(forwarded.map(|forwarded| ("X-Forwarded-For", forwarded)));
        site.server.request("GET", "/api/v1/apps", &headers, "").status
    };
    let local = json!({ "name": "t", "scope": "global", "allowedIps": ["127.0.0.0/8"] });
    let office = json!({ "name": "t", "scope": "global", "allowedIps": ["203.0.113.0/24", "2001:db8::/32"] });

    let site = Site::new();
    let (at_local, at_office) = (site.token(&local), site.token(&office));
    assert_eq!(ask(&site, &at_local, None), 200);
    // Whoever says something of its address without being trusted has none.
    assert_eq!(ask(&site, &at_local, Some("127.0.0.1")), 401);
    assert_eq!(ask(&site, &at_office, Some("203.0.113.7")), 401);

    let site = Site::served(|streamhub: Streamhub| {
        streamhub.env("STREAMHUB_TRUSTED_PROXIES", "127.0.0.1,10.0.0.0/8")
    });
    let (at_local, at_office) = (site.token(&local), site.token(&office));
    assert_eq!(ask(&site, &at_office, Some("203.0.113.7")), 200);
    assert_eq!(ask(&site, &at_office, Some("198.51.100.1, 2001:db8::1, 10.1.2.3")), 200);
    // The leftmost is what the client says of itself.
    assert_eq!(ask(&site, &at_office, Some("203.0.113.7, 198.51.100.1")), 401);
    assert_eq!(ask(&site, &at_office, Some("203.0.113.7, nonsense")), 401);
    assert_eq!(ask(&site, &at_local, Some("203.0.113.7")), 401);
}

#[test]
fn s11_using_a_token_writes_nothing_for_each_request() {
    let site = Site::new();
    let token = site.token(&json!({ "name": "t", "scope": "global" }));
    let before = site.wal_bytes();
    for _ in 0..200 {
        assert_eq!(site.get(&token, "/tenants").status, 200);
    }
    // A page for each would be more than this; the log writes down what it has to say in the meantime.
    let page = 4096;
    assert!(
        site.wal_bytes() < before + 50 * page,
        "200 requests, and no write of the control database for each"
    );
    // It is written down when the server stops, at the latest.
    let site = site.stopped_and_started();
    let listed = site.get(&site.root, "/tokens").json();
    assert!(listed["data"][0]["lastUsedAt"].is_string(), "{listed}");
}

#[test]
fn what_may_be_done_with_an_own_account() {
    let site = Site::new();
    let ana = site.person("ana@example.org", None);
    let again = site.log_in("ana@example.org");
    let change = |body: &Value| site.ask("PATCH", "/account", &ana, Some(body));
    assert_eq!(change(&json!({ "name": "Ana" })).json()["name"], "Ana");
    assert_eq!(change(&json!({ "isSuperadmin": true })).status, 400);

    // What she logs in with takes the password.
    for body in [
        json!({ "email": "ana@example.net" }),
        json!({ "password": PASSWORD }),
        json!({ "name": "A", "password": PASSWORD }),
    ] {
        let refused = change(&body);
        assert_eq!((refused.status, &refused.json()["code"]), (400, &json!("invalid_body")), "{body}");
    }
    let wrong = change(&json!({ "email": "ana@example.net", "password": "a wrong guess" }));
    assert_eq!((wrong.status, &wrong.json()["code"]), (401, &json!("login_refused")));
    assert_eq!(change(&json!({ "email": "root@example.org", "password": PASSWORD })).status, 409);
    assert_eq!(site.get(&again, "/account").status, 200);
    let changed =
        change(&json!({ "email": "ana@example.net", "password": PASSWORD, "name": "Ana B." })).json();
    assert_eq!([&changed["email"], &changed["name"]], ["ana@example.net", "Ana B."]);
    assert_eq!([&ana, &again].map(|session| site.get(session, "/account").status), [200, 401]);
    let again = site.log_in("ana@example.net");

    let password = |old: &str, new: &str| {
        let body = json!({ "oldPassword": old, "newPassword": new });
        site.post(&ana, "/account/password", &body).status
    };
    assert_eq!(password("a wrong guess", "another horse battery"), 401);
    assert_eq!(password(PASSWORD, "short"), 400);
    assert_eq!(password(PASSWORD, "another horse battery"), 204);
    assert_eq!([&ana, &again].map(|session| site.get(session, "/account").status), [200, 401]);
    let began = Instant::now();
    let login = json!({ "email": "ana@example.net", "password": "another horse battery" });
    assert_eq!(site.post("", "/auth/login", &login).status, 200, "{:?}", began.elapsed());
}

#[test]
fn a_forged_address_is_counted_by_the_connection() {
    let site = Site::new();
    let body = json!({ "email": "nobody@example.org", "password": "a wrong guess" }).to_string();
    let headers = [("Content-Type", "application/json"), ("X-Forwarded-For", "203.0.113.7")];
    let forged = site.server.request("POST", "/api/v1/auth/login", &headers, &body);
    assert_eq!(forged.status, 401);
    let site = site.killed_and_started(|control| {
        let mut query = control
            .prepare("SELECT subject FROM _streamhub_login_failures ORDER BY subject")
            .expect("a table");
        let subjects = query.query_map([], |row| row.get::<_, String>(0)).expect("rows");
        let subjects: Vec<_> = subjects.map(|subject| subject.expect("a text")).collect();
        assert_eq!(subjects, ["account:nobody@example.org", "address:127.0.0.1"]);
    });
    // What nobody can know, the audit does not say.
    assert!(site.get(&site.root, "/audit?limit=1").json()["entries"][0]["address"].is_null());
}

#[test]
fn an_owner_does_not_learn_who_else_is_here() {
    let site = Site::new();
    site.tenant("acme");
    let owner = site.person("owner@example.org", Some(("acme", "owner")));
    let ana = site.person("ana@example.org", None);
    let key = site.get(&ana, "/account").json()["id"].as_str().expect("a key").to_owned();
    let answer = |method: &str, path: &str, body: &Value| {
        let answer = site.ask(method, path, &owner, Some(body));
        let mut body = answer.json();
        body["requestId"].take();
        (answer.status, body)
    };
    let add =
        |user: &str| answer("POST", "/tenants/acme/members", &json!({ "user": user, "role": "viewer" }));
    let known = add("ana@example.org");
    assert_eq!((known.0, &known.1["code"]), (400, &json!("invalid_body")));
    assert_eq!(add("nobody@example.org"), known);
    let change =
        |user: &str| answer("PATCH", &format!("/tenants/acme/members/{user}"), &json!({ "role": "editor" }));
    assert_eq!((change("ana@example.org"), change("ana@example.org").0), (change("nobody@example.org"), 404));
    assert_eq!((add("usr_nobody").0, change(&key).0), (404, 404));

    // Ana tells the owner her key, which nobody guesses.
    assert_eq!(add(&key).0, 201);
    assert_eq!((add(&key).0, change(&key).0), (409, 200));
    assert_eq!(change("ana@example.org").0, 404, "nor by the address of a member");
    assert_eq!(site.ask("DELETE", &format!("/tenants/acme/members/{key}"), &owner, None).status, 204);
}

#[test]
fn a_new_password_of_an_administrators_ends_what_wrong_ones_began() {
    let site = Site::new();
    site.person("ana@example.org", None);
    let guess = json!({ "email": "ana@example.org", "password": "a wrong guess" });
    while site.post("", "/auth/login", &guess).status == 401 {}
    let login = |password: &str| {
        site.post("", "/auth/login", &json!({ "email": "ana@example.org", "password": password })).status
    };
    assert_eq!(login(PASSWORD), 429);
    let reset = site.streamhub.run(["user", "reset-password", "ana@example.org", "--json"]).expect(0).json();
    assert_eq!(login(reset["password"].as_str().expect("a password")), 200);
}

#[test]
fn a_token_is_used_where_it_is_accepted_only() {
    let site = Site::new();
    let nowhere = json!({ "name": "t", "scope": "global", "allowedIps": [] });
    let refused = site.post(&site.root, "/tokens", &nowhere);
    assert_eq!((refused.status, &refused.json()["code"]), (400, &json!("invalid")));
    let token =
        |network: &str| site.token(&json!({ "name": network, "scope": "global", "allowedIps": [network] }));
    assert_eq!(site.get(&token("192.0.2.0/24"), "/apps").status, 401);
    assert_eq!(site.get(&token("127.0.0.0/8"), "/apps").status, 200);
    let site = site.stopped_and_started();
    let listed = site.get(&site.root, "/tokens").json();
    let used = |at: usize| (listed["data"][at]["name"].clone(), listed["data"][at]["lastUsedAt"].is_string());
    let mut all = [used(0), used(1)];
    all.sort_by_key(|(_, is_used)| *is_used);
    assert_eq!(all, [(json!("192.0.2.0/24"), false), (json!("127.0.0.0/8"), true)]);
}
