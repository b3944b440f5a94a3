//! Clients that ask a server over HTTP, as lean as they can be: they share its processors.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

/// How many ask at the same time, each on a connection of its own that stays open.
const CLIENTS: usize = 64;

/// The longest answer, with its head.
const LONGEST: usize = 64 << 10;

/// Clients of one server that take turns with the same requests, all on the calling thread.
pub(crate) struct Load {
    runtime: Runtime,
    requests: Arc<[Vec<u8>]>,
    clients: Vec<Client>,
}

struct Client {
    stream: TcpStream,
    answer: Vec<u8>,
}

/// A request as it is sent.
pub(crate) fn request(method: &str, path: &str, token: &str, body: Option<&Value>) -> Vec<u8> {
    let head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n");
    let rest = body.map_or_else(
        || "\r\n".to_owned(),
        |body| {
            let body = body.to_string();
            format!("content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        },
    );
    (head + &rest).into_bytes()
}

impl Load {
    /// Connects.
    pub(crate) fn new(server: SocketAddr, requests: Vec<Vec<u8>>) -> Self {
        let runtime = Builder::new_current_thread().enable_io().build().expect("a runtime");
        let clients = (0..CLIENTS).map(|_| runtime.block_on(Client::connect(server))).collect();
        Self { runtime, requests: requests.into(), clients }
    }

    /// The JSON that the first request is answered with.
    pub(crate) fn first_answer(&mut self) -> Value {
        let client = &mut self.clients[0];
        let body = self.runtime.block_on(client.ask(&self.requests[0]));
        serde_json::from_slice(&client.answer[body]).expect("JSON")
    }

    /// Requests that are answered in a second, measured for as long as `span`.
    pub(crate) fn per_second(&mut self, span: Duration) -> f64 {
        let start = Instant::now();
        let clients = self.clients.drain(..).enumerate().map(|(first, mut client)| {
            let requests = Arc::clone(&self.requests);
            self.runtime.spawn(async move {
                let mut answered = 0;
                while start.elapsed() < span {
                    client.ask(&requests[(first + answered) % requests.len()]).await;
                    answered += 1;
                }
                (client, answered)
            })
        });
        let asking: Vec<_> = clients.collect();
        let mut all = 0;
        for client in asking {
            let (client, answered) = self.runtime.block_on(client).expect("no client panics");
            self.clients.push(client);
            all += answered;
        }
        #[allow(clippy::cast_precision_loss, reason = "some thousand requests")]
        let all = all as f64;
        all / start.elapsed().as_secs_f64()
    }
}

impl Client {
    async fn connect(server: SocketAddr) -> Self {
        let stream = TcpStream::connect(server).await.expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        Self { stream, answer: vec![0; LONGEST] }
    }

    /// Asks, and says where the answer's body is. The answer has to be a good one.
    async fn ask(&mut self, request: &[u8]) -> Range<usize> {
        self.stream.write_all(request).await.expect("a request is sent");
        let (mut read, mut body) = (0, None);
        loop {
            let more = self.stream.read(&mut self.answer[read..]).await.expect("an answer");
            assert!(more > 0, "the server has closed the connection");
            read += more;
            body = body.or_else(|| body_of(&self.answer[..read]));
            if let Some(body) = body.take_if(|body| read >= body.end) {
                return body;
            }
        }
    }
}

/// Where the body of an answer is, once its head is there.
fn body_of(answer: &[u8]) -> Option<Range<usize>> {
    let head = answer.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&answer[..head]).expect("a head in ASCII");
    assert!(text.starts_with("HTTP/1.1 2"), "{}", String::from_utf8_lossy(answer));
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    Some(head..head + length.parse::<usize>().expect("a number"))
}
