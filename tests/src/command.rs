//! The `streamhub` binary as a child process, built once, with an environment in which only the test decides.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};
use std::{env, thread};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::files::target_and_profile;
use crate::process::{self, Ended};
use crate::skip::workspace;

/// How long a server may take to listen, and to stop.
const SERVER_PATIENCE: Duration = Duration::from_secs(30);

/// Variables that would lead a child to another data directory than the test's.
const MISLEADING: [&str; 4] = ["DATA_DIR", "STATE_DIRECTORY", "XDG_STATE_HOME", "DATABASE_URL"];

/// Where the binary is. It is built on first use, into the running test's own build directory and profile;
/// `STREAMHUB_TEST_BIN` names one that is there already.
///
/// # Panics
/// Where it cannot be built.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    let build = || build(["-p", "streamhub-cli", "--bin", "streamhub"], "streamhub");
    BINARY.get_or_init(|| env::var_os("STREAMHUB_TEST_BIN").map_or_else(build, PathBuf::from))
}

/// Where an example of the library is, built as [`binary`] is.
///
/// # Panics
/// Where it cannot be built.
pub fn example(name: &str) -> PathBuf {
    build(["-p", "streamhub", "--example", name], &format!("examples/{name}"))
}

fn build(what: [&str; 4], place: &str) -> PathBuf {
    let (target, profile) = target_and_profile();
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace()).args(["build", "--quiet"]).args(what);
    // The directory of the profile `dev` has another name than the profile.
    cargo
        .args(["--profile", if profile == "debug" { "dev" } else { &profile }])
        .arg("--target-dir")
        .arg(&target);
    let output = cargo.output().expect("cargo runs where tests run");
    assert!(output.status.success(), "{place} was not built: {}", String::from_utf8_lossy(&output.stderr));
    let binary = target.join(profile).join(place);
    assert!(binary.is_file(), "cargo made no {}", binary.display());
    binary
}

/// A command line in the making.
#[derive(Debug, Clone)]
pub struct Streamhub {
    data_dir: Option<PathBuf>,
    current_dir: Option<PathBuf>,
    env: Vec<(OsString, OsString)>,
    limit: Duration,
}

impl Streamhub {
    /// Runs on a data directory, with `--data-dir`.
    pub fn new(data_dir: impl AsRef<Path>) -> Self {
        Self { data_dir: Some(data_dir.as_ref().to_owned()), ..Self::bare() }
    }

    /// Runs without `--data-dir`.
    pub fn bare() -> Self {
        Self { data_dir: None, current_dir: None, env: Vec::new(), limit: process::PATIENCE }
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn current_dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.current_dir = Some(dir.as_ref().to_owned());
        self
    }

    /// How long a run may take. Without this [`process::PATIENCE`].
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The command itself: for [`crate::faults::Faults`], `strace`, `prlimit`.
    pub fn command<I>(&self, arguments: I) -> Command
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        let mut command = Command::new(binary());
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            if MISLEADING.contains(&&*text) || text.starts_with("STREAMHUB_") || text.starts_with("IOFAULT_")
            {
                command.env_remove(&name);
            }
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        if let Some(dir) = &self.current_dir {
            command.current_dir(dir);
        }
        if let Some(dir) = &self.data_dir {
            command.arg("--data-dir").arg(dir);
        }
        command.args(arguments);
        command
    }

    /// Runs it to its end.
    pub fn run<I>(&self, arguments: I) -> Output
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        let mut command = self.command(arguments);
        let ended = process::run_within(&mut command, self.limit);
        Output { line: format!("{command:?}"), ended }
    }

    /// Starts `serve` on a free port of the loopback and waits until it listens.
    ///
    /// # Panics
    /// Where it ends or says nothing of listening in time; the message has what it wrote.
    pub fn serve(&self) -> Server {
        self.try_serve().unwrap_or_else(|output| panic!("serve does not listen: {}", output.describe()))
    }

    /// Starts `serve` with further arguments; where it listens is for them and the environment to say.
    ///
    /// # Panics
    /// As [`Streamhub::serve`].
    pub fn serve_with<I>(&self, arguments: I) -> Server
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        let mut command = self.command(["serve"]);
        command.args(arguments);
        Server::start(command).unwrap_or_else(|output| panic!("serve does not listen: {}", output.describe()))
    }

    /// Starts `serve`; the error is the end of a server that refused to start.
    pub fn try_serve(&self) -> Result<Server, Ended> {
        Server::start(self.command(["serve", "--listen", "127.0.0.1:0"]))
    }
}

/// What a command did.
#[derive(Debug, Clone)]
pub struct Output {
    line: String,
    /// How it ended and what it wrote.
    pub ended: Ended,
}

impl Output {
    /// Demands an exit code.
    ///
    /// # Panics
    /// Where it is another one; the message has the command and its output.
    #[track_caller]
    #[must_use]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.ended.code, Some(code), "{}\n{}", self.line, self.ended.describe());
        self
    }

    /// The exit code, unless a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.ended.code
    }

    /// Standard output.
    pub fn stdout(&self) -> &str {
        &self.ended.stdout
    }

    /// Standard error.
    pub fn stderr(&self) -> &str {
        &self.ended.stderr
    }

    /// Standard output as one JSON value.
    ///
    /// # Panics
    /// Where it is none; the message has the command and its output.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(self.stdout())
            .unwrap_or_else(|e| panic!("no JSON ({e}): {}\n{}", self.line, self.ended.describe()))
    }
}

/// A running `streamhub serve`, killed with the value.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: SocketAddr,
    written: [Arc<Mutex<String>>; 2],
}

impl Server {
    /// Starts a command that becomes a server, or gives how it ended.
    pub fn start(command: Command) -> Result<Self, Ended> {
        let (mut child, written, addresses) = spawn(command);
        match wait_for(&mut child, &addresses) {
            Some(address) => Ok(Self { child, address, written }),
            None => Err(finish(&mut child, Duration::ZERO, &written)),
        }
    }

    /// Starts a command that answers at an address, and may still be booting when it does.
    ///
    /// # Panics
    /// Where it does not in time; the message has what it wrote.
    pub fn booting(command: Command, address: SocketAddr) -> Self {
        let (child, written, _) = spawn(command);
        let (server, start) = (Self { child, address, written }, Instant::now());
        while ask(address, "GET", "/health", &[], "").is_err() {
            assert!(start.elapsed() < SERVER_PATIENCE, "nobody answers: {}", server.stderr());
            thread::sleep(Duration::from_millis(1));
        }
        server
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to standard error so far.
    pub fn stderr(&self) -> String {
        self.written[1].lock().expect("no reader panics").clone()
    }

    /// What it wrote to standard output so far.
    pub fn stdout(&self) -> String {
        self.written[0].lock().expect("no reader panics").clone()
    }

    /// Waits until `/ready` answers 200: the databases are open.
    ///
    /// # Panics
    /// Where they are not in time.
    pub fn wait_until_ready(&self) {
        let start = Instant::now();
        while self.get("/ready").status != 200 {
            assert!(start.elapsed() < SERVER_PATIENCE, "not ready: {}", self.stderr());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Asks for a path.
    pub fn get(&self, path: &str) -> Response {
        self.request("GET", path, &[], "")
    }

    /// Sends a request and reads the answer. The path goes out as it is, so that a test can send any.
    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        ask(self.address, method, path, headers, body).expect("the server answers")
    }

    /// Kills it with SIGKILL and waits until it is gone.
    pub fn kill(mut self) -> Ended {
        self.child.kill().expect("killing the server");
        finish(&mut self.child, SERVER_PATIENCE, &self.written)
    }

    /// Asks it to stop with SIGTERM and waits until it has.
    pub fn stop(mut self) -> Ended {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"));
        kill(pid, Signal::SIGTERM).expect("asking the server to stop");
        finish(&mut self.child, SERVER_PATIENCE, &self.written)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a request to whoever listens there and reads the answer; an error where there is none, or half of one.
pub fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> io::Result<Response> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(SERVER_PATIENCE))?;
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in headers {
        request.extend([name, ": ", value, "\r\n"]);
    }
    request.extend(["Content-Length: ", &body.len().to_string(), "\r\n\r\n", body]);
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Response::parse(&answer).ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
}

/// An answer over HTTP.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Header names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body as text.
    pub body: String,
}

impl Response {
    /// The body as JSON.
    ///
    /// # Panics
    /// Where it is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("no JSON ({e}): {self:?}"))
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }

    /// Reads an answer; none where it is not whole.
    pub fn parse(answer: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(answer).into_owned();
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
        let headers = lines.filter_map(|line| line.split_once(':'));
        let mut response = Self {
            status: status?,
            headers: headers.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect(),
            body: body.to_owned(),
        };
        if response.header("transfer-encoding") == Some("chunked") {
            response.body = joined(body)?;
            return Some(response);
        }
        let length = response.header("content-length").and_then(|length| length.parse().ok());
        length.is_none_or(|length: usize| length == body.len()).then_some(response)
    }
}

/// The text of a body in chunks; none where the last of them is not there.
fn joined(mut chunks: &str) -> Option<String> {
    let mut text = String::new();
    loop {
        let (length, rest) = chunks.split_once("\r\n")?;
        let length = usize::from_str_radix(length, 16).ok()?;
        text.push_str(rest.get(..length)?);
        chunks = rest.get(length..)?.strip_prefix("\r\n")?;
        if length == 0 {
            return Some(text);
        }
    }
}

/// Starts a command; says what it writes, and each address that it says it listens on.
fn spawn(mut command: Command) -> (Child, [Arc<Mutex<String>>; 2], Receiver<SocketAddr>) {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    let (found, addresses) = mpsc::channel();
    let stdout = collect(child.stdout.take().expect("a pipe"), found.clone());
    let stderr = collect(child.stderr.take().expect("a pipe"), found);
    (child, [stdout, stderr], addresses)
}

/// Collects what a child writes, and sends the address that it says it listens on.
fn collect(pipe: impl Read + Send + 'static, found: mpsc::Sender<SocketAddr>) -> Arc<Mutex<String>> {
    let written = Arc::new(Mutex::new(String::new()));
    let sink = Arc::clone(&written);
    thread::spawn(move || {
        let mut lines = BufReader::new(pipe);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            let text = String::from_utf8_lossy(&line).into_owned();
            if let Some(address) = listening(&text) {
                // The receiver is gone once one address was seen.
                let _ = found.send(address);
            }
            sink.lock().expect("no reader panics").push_str(&text);
            line.clear();
        }
    });
    written
}

/// The address in `… listening on http://127.0.0.1:3020 …`.
fn listening(line: &str) -> Option<SocketAddr> {
    let rest = line.split_once("listening on http://")?.1;
    let end = rest.find(|c: char| !(c.is_ascii_hexdigit() || ".:[]".contains(c))).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

fn wait_for(child: &mut Child, addresses: &Receiver<SocketAddr>) -> Option<SocketAddr> {
    let start = Instant::now();
    while start.elapsed() < SERVER_PATIENCE {
        if let Ok(address) = addresses.recv_timeout(Duration::from_millis(20)) {
            return Some(address);
        }
        if child.try_wait().expect("waiting for the server").is_some() {
            return None;
        }
    }
    None
}

fn finish(child: &mut Child, limit: Duration, written: &[Arc<Mutex<String>>; 2]) -> Ended {
    use std::os::unix::process::ExitStatusExt as _;
    let (status, timed_out) = process::wait(child, limit);
    // The readers end with the pipes; a moment is enough for what was written last.
    let deadline = Instant::now() + Duration::from_secs(2);
    while written.iter().any(|w| Arc::strong_count(w) > 1) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
    }
    let [stdout, stderr] = written.each_ref().map(|w| w.lock().expect("no reader panics").clone());
    Ended { code: status.code(), signal: status.signal(), timed_out, stdout, stderr }
}

#[cfg(test)]
mod tests {
    use super::listening;

    #[test]
    fn an_address_is_found_in_any_log_line() {
        let address = |line| listening(line).map(|a| a.to_string());
        assert_eq!(address("listening on http://127.0.0.1:3020\n").as_deref(), Some("127.0.0.1:3020"));
        assert_eq!(address("INFO serve: listening on http://[::1]:80 apps=3\n").as_deref(), Some("[::1]:80"));
        assert_eq!(
            address(r#"{"message":"listening on http://127.0.0.1:1"}"#).as_deref(),
            Some("127.0.0.1:1")
        );
        assert_eq!(address("listening soon"), None);
    }
}
