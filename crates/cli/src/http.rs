//! Asking a server: one request and its answer, and what a refusal means on the command line.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use streamhub::apps::Refused;
use streamhub::quotas::{Limit, Metric, QuotaExceeded};
use streamhub::{HubError, Uuid};
use ureq::http::{Method, Request, StatusCode};

use crate::exit::{Code, Refusal};
use crate::server::Server;

/// How long a server may take to take a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// How long an answer may take. A server says sooner than that that something took too long.
const ANSWER: Duration = Duration::from_mins(5);

/// How often it is asked whether work is over.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The most bytes of an answer.
const CAP: u64 = 64 << 20;

/// A server that is asked.
pub(crate) struct Client {
    agent: ureq::Agent,
    server: Server,
}

/// One request, and what its refusals mean.
pub(crate) struct Ask {
    method: Method,
    path: String,
    body: Option<Value>,
    /// By which the server knows it again.
    key: Option<Uuid>,
    missing: Option<HubError>,
    taken: Option<HubError>,
}

/// Whether a server answers yet.
pub(crate) enum Standing {
    /// It does.
    Ready,
    /// It opens its databases, or is about to end.
    NotReady(anyhow::Error),
    /// Nobody takes a connection there.
    Unreachable(anyhow::Error),
}

/// How a server refuses.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answered {
    message: String,
    code: String,
    request_id: String,
    metric: Option<Metric>,
    limit: Option<Limit>,
    used: Option<u64>,
}

impl Ask {
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub(crate) fn post(path: impl Into<String>, body: Value) -> Self {
        Self { body: Some(body), ..Self::new(Method::POST, path) }
    }

    pub(crate) fn patch(path: impl Into<String>, body: Value) -> Self {
        Self { body: Some(body), ..Self::new(Method::PATCH, path) }
    }

    pub(crate) fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), body: None, key: None, missing: None, taken: None }
    }

    /// Asked for until it is over, however often the server says that this takes longer than an answer may.
    pub(crate) fn until_over(self) -> Self {
        Self { key: Some(Uuid::random()), ..self }
    }

    /// What it means that there is nothing.
    pub(crate) fn or_missing(self, missing: HubError) -> Self {
        Self { missing: Some(missing), ..self }
    }

    /// What it means that something is there already.
    pub(crate) fn or_taken(self, taken: HubError) -> Self {
        Self { taken: Some(taken), ..self }
    }
}

impl Client {
    pub(crate) fn new(server: Server) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            // What is asked for holds credentials, and goes to nobody in between.
            .proxy(None)
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(ANSWER))
            .timeout_recv_body(Some(ANSWER));
        Self { agent: config.build().new_agent(), server }
    }

    /// Whether it sees the files that this command sees.
    pub(crate) fn is_on_this_machine(&self) -> bool {
        self.server.is_announced()
    }

    /// Whether the server answers yet.
    pub(crate) fn standing(&self) -> anyhow::Result<Standing> {
        match self.send(&Ask::get("/ready")) {
            Ok((StatusCode::OK, _)) => Ok(Standing::Ready),
            Ok((status @ StatusCode::SERVICE_UNAVAILABLE, body)) => {
                Ok(Standing::NotReady(self.refusal(Ask::get("/ready"), status, &body)))
            }
            Ok((status, _)) => Err(Refusal::failed(
                &format_args!("{} answers {status} and is no StreamHub server", self.server.url),
                "check --url",
            )),
            Err(error) => Ok(Standing::Unreachable(error)),
        }
    }

    /// Asks, and gives what is answered.
    pub(crate) fn ask<T: DeserializeOwned>(&self, ask: Ask) -> anyhow::Result<T> {
        let answer = self.answered(ask)?;
        serde_json::from_slice(&answer).map_err(|error| {
            let message = format!("{} answers what is not understood: {error}", self.server.url);
            Refusal::failed(&message, "it is done; does the server have this program's version?")
        })
    }

    /// Asks for what has no answer but that it is done.
    pub(crate) fn done(&self, ask: Ask) -> anyhow::Result<()> {
        self.answered(ask).map(drop)
    }

    fn answered(&self, ask: Ask) -> anyhow::Result<Vec<u8>> {
        let (mut status, mut body) = self.send(&ask)?;
        while ask.key.is_some() && is_under_way(status, &body) {
            thread::sleep(LOOK_EVERY);
            (status, body) = self.send(&ask)?;
        }
        if status.is_success() { Ok(body) } else { Err(self.refusal(ask, status, &body)) }
    }

    fn send(&self, ask: &Ask) -> anyhow::Result<(StatusCode, Vec<u8>)> {
        let Server { url, credential, .. } = &self.server;
        let mut request =
            Request::builder().method(ask.method.clone()).uri(format!("{url}/api/v1{}", ask.path));
        if let Some(credential) = credential {
            request = request.header("authorization", format!("Bearer {}", credential.reveal()));
        }
        if let Some(key) = &ask.key {
            request = request.header("idempotency-key", key.to_string());
        }
        let (request, body) = match &ask.body {
            Some(body) => (request.header("content-type", "application/json"), body.to_string()),
            None => (request, String::new()),
        };
        let request = request.body(body).map_err(|error| self.unanswered(ask, &error))?;
        let mut answer = self.agent.run(request).map_err(|error| self.unanswered(ask, &error))?;
        let body = answer.body_mut().with_config().limit(CAP).read_to_vec();
        Ok((answer.status(), body.map_err(|error| self.unanswered(ask, &error))?))
    }

    fn unanswered(&self, ask: &Ask, error: &dyn std::fmt::Display) -> anyhow::Error {
        let message = format!("cannot ask {} ({} {}): {error}", self.server.url, ask.method, ask.path);
        let changes = if ask.method == Method::GET { "" } else { "; it may be done or not" };
        Refusal::failed(&message, format!("{}{changes}", self.server.way_out()))
    }

    fn refusal(&self, ask: Ask, status: StatusCode, body: &[u8]) -> anyhow::Error {
        let Ok(refused) = serde_json::from_slice::<Answered>(body) else {
            let message = format!("{} answers {status} and is no StreamHub server", self.server.url);
            return Refusal::failed(&message, "check --url");
        };
        let Answered { message, code, request_id, metric, limit, used } = refused;
        match (status, ask.missing, ask.taken) {
            (StatusCode::NOT_FOUND, Some(missing), _) => missing.into(),
            (StatusCode::CONFLICT, _, taken) => conflict(&code, message, taken),
            (StatusCode::BAD_REQUEST, ..) => HubError::Invalid(message).into(),
            (StatusCode::TOO_MANY_REQUESTS, ..) => match (metric, limit, used) {
                (Some(metric), Some(limit), Some(used)) => {
                    HubError::Quota(QuotaExceeded { metric, limit, used }).into()
                }
                _ => Refusal::failed(&message, "try again a little later"),
            },
            (StatusCode::UNAUTHORIZED, ..) => {
                let message = format!("{} does not accept {}", self.server.url, self.server.shown());
                Refusal::failed(&message, self.server.way_out())
            }
            (StatusCode::FORBIDDEN, ..) => Refusal::failed(
                &format_args!("{}: {message}", self.server.url),
                "take a token of the tenant platform, or ask who administrates the installation",
            ),
            (StatusCode::SERVICE_UNAVAILABLE | StatusCode::INSUFFICIENT_STORAGE, ..) => {
                Refusal::failed(&message, unavailable(&code))
            }
            _ => Refusal::failed(
                &format_args!("{message} (request {request_id})"),
                "the server's log says more: `streamhub logs list`",
            ),
        }
    }
}

/// Whether the answer is that the work goes on.
fn is_under_way(status: StatusCode, body: &[u8]) -> bool {
    !status.is_success()
        && serde_json::from_slice::<Answered>(body)
            .is_ok_and(|refused| ["timed_out", "request_under_way"].contains(&&*refused.code))
}

/// What can be done about what cannot be done at the moment.
fn unavailable(code: &str) -> String {
    match code {
        "app_missing" => HubError::NoAppDir { dir: PathBuf::new() }.way_out(),
        "no_space" => HubError::NoSpace { path: PathBuf::new(), needed: 0, free: 0 }.way_out(),
        "damaged" | "out_of_service" => {
            "`streamhub doctor` says what is wrong; `streamhub logs list` what the server found".to_owned()
        }
        _ => "try again a little later".to_owned(),
    }
}

/// What is as it is stands in the way: where something is there already `taken`, if that was to be expected.
fn conflict(code: &str, message: String, taken: Option<HubError>) -> anyhow::Error {
    // Most ways out say nothing of the names, which the message has.
    let nameless = match (code, taken) {
        ("name_taken", Some(taken @ HubError::Refused(Refused::NameTaken { .. })))
        | ("last_superadmin", Some(taken @ HubError::LastSuperadmin { .. })) => return taken.into(),
        ("cancelled", _) => return HubError::Cancelled.into(),
        ("name_taken", _) => Some(HubError::Refused(Refused::NameTaken { name: String::new() })),
        ("uuid_taken", _) => Some(HubError::Refused(Refused::UuidTaken { uuid: Uuid::random() })),
        ("directory_exists", _) => Some(HubError::DirectoryThere { dir: PathBuf::new() }),
        ("in_trash", _) => {
            let name = message.split('"').nth(1).unwrap_or_default().to_owned();
            Some(HubError::InTrash { name })
        }
        ("exists", taken) => taken,
        ("interrupted", _) => return Refusal::failed(&message, "start it again"),
        _ => return Refusal::failed(&message, ""),
    };
    let way_out = nameless.map(|error| error.way_out()).unwrap_or_default();
    Refusal::with(Code::DestinationExists, message, way_out)
}

/// A part of a path.
pub(crate) fn segment(text: &str) -> String {
    use std::fmt::Write;

    text.bytes().fold(String::new(), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::TcpListener;

    use serde_json::json;

    use super::*;

    /// Answers one request, and gives its `Idempotency-Key`.
    fn answer(listener: &TcpListener, status: u16, body: &Value) -> Option<String> {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(&stream);
        let head = reader.by_ref().lines().map(|line| line.unwrap().to_ascii_lowercase());
        let head: Vec<_> = head.take_while(|line| !line.is_empty()).collect();
        let header = |name: &str| head.iter().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        let length = header("content-length: ").map_or(0, |length| length.parse().unwrap());
        reader.read_exact(&mut vec![0; length]).unwrap();
        let body = body.to_string();
        let head =
            format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        (&stream).write_all(format!("{head}{body}").as_bytes()).unwrap();
        header("idempotency-key: ")
    }

    #[test]
    fn what_takes_longer_than_an_answer_is_asked_for_until_it_is_over() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut token = tempfile::NamedTempFile::new().unwrap();
        token.write_all(b"sk_1").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let client = Client::new(Server::named(Some(url), Some(token.path().to_owned())).unwrap().unwrap());
        let refused = |code: &str| json!({ "message": "m", "code": code, "requestId": "r" });
        let answering = thread::spawn(move || {
            let answers = [(503, "timed_out"), (409, "request_under_way"), (201, ""), (503, "timed_out")];
            answers.map(|(status, code)| answer(&listener, status, &refused(code)))
        });
        let adopt = || Ask::post("/system/adopt", json!({}));
        assert_eq!(client.ask::<Value>(adopt().until_over()).unwrap()["message"], "m");
        assert!(
            client.ask::<Value>(adopt()).is_err(),
            "who gave it no name does not know whether it is done"
        );
        let [first, second, third, last] = answering.join().unwrap();
        assert!(first.is_some() && first == second && second == third, "{first:?} {second:?} {third:?}");
        assert_eq!(last, None);
    }

    #[test]
    fn only_what_is_there_already_is_a_destination_that_exists() {
        let refused = |code| conflict(code, "m".to_owned(), None);
        for code in ["exists", "name_taken", "uuid_taken", "directory_exists", "in_trash"] {
            assert!(Refusal::is(&refused(code), Code::DestinationExists), "{code}");
        }
        for code in ["config_broken", "last_superadmin", "answer_lost", "request_under_way", "interrupted"] {
            assert!(Refusal::is(&refused(code), Code::Failed), "{code}");
        }
        assert!(matches!(refused("cancelled").downcast_ref(), Some(HubError::Cancelled)));
    }

    #[test]
    fn a_part_of_a_path_stays_one_part() {
        for (text, escaped) in [
            ("news-24", "news-24"),
            ("anna+x@example.org", "anna%2Bx%40example%2Eorg"),
            ("../a/b?c#d", "%2E%2E%2Fa%2Fb%3Fc%23d"),
            ("ä", "%C3%A4"),
        ] {
            assert_eq!(segment(text), escaped);
        }
    }
}
