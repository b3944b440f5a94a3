//! docs/API.md holds: its commands are run in order, what they print is compared, and its tables are those of the
//! code.

use std::collections::BTreeSet;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use streamhub_server::Policy;
use streamhub_tests::command::{Server, Streamhub};
use streamhub_tests::files::scratch;
use streamhub_tests::process;
use streamhub_tests::skip::{skip, workspace};

/// Where the guide has the server.
const ADDRESS: &str = "127.0.0.1:3020";

/// What stands for anything in an example.
const ANYTHING: &str = "…";

/// Between these the guide has the table of all routes.
const ROUTES: [&str; 2] = ["<!-- routes -->\n", "<!-- end of routes -->"];

fn place() -> PathBuf {
    workspace().join("docs/API.md")
}

fn guide() -> String {
    fs::read_to_string(place()).expect("there is a guide")
}

/// The fenced blocks: of which language, and what is in them.
fn blocks(text: &str) -> Vec<(&str, &str)> {
    let fenced = text.split("\n```").collect::<Vec<_>>();
    fenced.chunks_exact(2).map(|pair| pair[1].split_once('\n').expect("a language")).collect()
}

#[test]
fn every_command_works_and_prints_what_the_guide_says() {
    for tool in ["curl", "jq"] {
        if Command::new(tool).arg("--version").output().is_err() {
            return skip("http::guide::every_command_works", &format!("there is no {tool}"));
        }
    }
    let dir = scratch();
    let text = guide();
    let (mut examples, mut script, mut last) = (Vec::new(), String::new(), None);
    let blocks = blocks(&text);
    let ("sh", serve) = blocks[0] else { panic!("the guide begins with {:?}", blocks[0]) };
    for (number, (language, block)) in blocks.iter().enumerate().skip(1) {
        match *language {
            "sh" => {
                writeln!(script, "{{\n{block}\n}} > {number}.out").expect("a text");
                last = Some(number);
            }
            "json" | "text" => {
                let commands = last.take().expect("an example follows commands");
                examples.push((commands, *language, *block));
            }
            _ => {}
        }
    }
    assert!(examples.len() >= 8, "only {} examples were found", examples.len());

    let server = served(serve, dir.path());
    let printed = server.stderr();
    let token = printed.lines().find_map(|line| line.split_once("set-up token: ")).expect("a token").1;
    fs::write(dir.path().join("token"), format!("{token}\n")).expect("a file");
    fs::write(dir.path().join("guide.sh"), script.replace(ADDRESS, &server.address().to_string()))
        .expect("a file");
    let mut bash = Command::new("bash");
    bash.args(["-c", "exec bash -euo pipefail guide.sh < token"]).current_dir(dir.path());
    let ended = process::run(&mut bash);
    let outputs = |number: usize| fs::read_to_string(dir.path().join(format!("{number}.out")));
    if !ended.success() {
        let printed: String = (1..blocks.len()).filter_map(|number| outputs(number).ok()).collect();
        panic!("{}\n--- the commands\n{printed}", ended.describe());
    }
    for (number, language, example) in examples {
        let printed = outputs(number).expect("what the commands printed");
        let is_right = match language {
            "text" => fits(example.trim(), printed.trim()),
            _ => all_like(&values(example), &values(&printed)),
        };
        assert!(is_right, "{}\nprinted\n{printed}\nand not\n{example}", blocks[number].1);
    }
    assert!(server.stop().success());
}

/// The server of the guide's first line, on a port that the system chose.
fn served(line: &str, dir: &Path) -> Server {
    let words: Vec<_> = line.split_whitespace().collect();
    let ["streamhub", arguments @ ..] = words.as_slice() else { panic!("{line}") };
    let mut command = Streamhub::bare().current_dir(dir).command(arguments);
    command.args(["--listen", "127.0.0.1:0"]);
    let server = Server::start(command).unwrap_or_else(|ended| panic!("{}", ended.describe()));
    server.wait_until_ready();
    server
}

fn values(text: &str) -> Vec<Value> {
    let values = serde_json::Deserializer::from_str(text).into_iter();
    values.collect::<Result<_, _>>().unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn all_like(examples: &[Value], printed: &[Value]) -> bool {
    examples.len() == printed.len()
        && examples.iter().zip(printed).all(|(example, value)| like(example, value))
}

fn like(example: &Value, value: &Value) -> bool {
    match (example, value) {
        (Value::String(any), _) if any == ANYTHING => true,
        (Value::String(example), Value::String(value)) => fits(example, value),
        (Value::Array(example), Value::Array(value)) => all_like(example, value),
        (Value::Object(example), Value::Object(value)) => {
            example.keys().eq(value.keys()) && example.iter().all(|(key, example)| like(example, &value[key]))
        }
        (example, value) => example == value,
    }
}

/// Whether a text is as the example says.
fn fits(example: &str, text: &str) -> bool {
    let mut pieces = example.split(ANYTHING);
    let Some(mut rest) = pieces.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut is_open = false;
    for piece in pieces {
        is_open = piece.is_empty();
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    is_open || rest.is_empty()
}

#[test]
fn an_example_says_what_may_be_anything() {
    for (example, text, expected) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("ss_…", "ss_x", true),
        ("ss_…", "sk_x", false),
        ("a…c", "abc", true),
        ("a…c", "abcd", false),
    ] {
        assert_eq!(fits(example, text), expected, "{example} {text}");
    }
    let values = values(r#"{"a": "…", "b": [1]} {"a": 7, "b": [1]} {"a": 7, "b": [2]} {"a": 7}"#);
    assert_eq!(
        values[1..].iter().map(|value| like(&values[0], value)).collect::<Vec<_>>(),
        [true, false, false]
    );
}

/// With `STREAMHUB_TEST_WRITE=1` the table is written anew.
#[test]
fn every_route_is_in_the_guide() {
    let server = Streamhub::new(scratch().path().join("data")).serve();
    server.wait_until_ready();
    let described = server.get("/api/v1/openapi.json").json();
    let mut table = String::from("| | | name | for | does |\n|---|---|---|---|---|\n");
    for (method, path, name, policy) in streamhub_server::policies() {
        let shown = path.replace("{*", "{");
        let summary = &described["paths"][&shown][method.to_lowercase()]["summary"];
        let summary = summary.as_str().unwrap_or_else(|| panic!("{method} {shown} is not described"));
        writeln!(table, "| {method} | `{shown}` | `{name}` | {} | {summary} |", whom(policy))
            .expect("a text");
    }
    let text = guide();
    let [begin, end] = ROUTES;
    let (before, rest) = text.split_once(begin).expect("the table's place");
    let (written, after) = rest.split_once(end).expect("the table's end");
    if env::var_os("STREAMHUB_TEST_WRITE").is_some() {
        return fs::write(place(), [before, begin, &table, end, after].concat()).expect("writing the guide");
    }
    assert_eq!(written, table, "write it anew with STREAMHUB_TEST_WRITE=1");
}

fn whom(policy: Policy) -> String {
    match policy {
        Policy::Public => "everybody".to_owned(),
        Policy::Credentials => "whoever shows credentials in the body".to_owned(),
        Policy::Authenticated => "whoever is known".to_owned(),
        Policy::Somewhere(permission) => format!("`{}` in a tenant", permission.as_str()),
        Policy::Session => "a person with a session".to_owned(),
        Policy::Tenant(permission) => format!("`{}` in the tenant", permission.as_str()),
        Policy::App(permission) => format!("`{}` on the app", permission.as_str()),
        Policy::Platform => "the platform".to_owned(),
        Policy::Node => "a node".to_owned(),
        Policy::Metrics => "the platform; this machine where configured".to_owned(),
    }
}

#[test]
fn every_code_is_in_the_guide() {
    let text = guide();
    let rows = text.lines().filter(|line| {
        let status = line.strip_prefix("| ").and_then(|row| row.split(' ').next());
        status.is_some_and(|status| status.len() == 3 && status.parse::<u16>().is_ok())
    });
    let cells = rows.flat_map(|row| row.split('|').nth(2).expect("a cell").split('`').skip(1).step_by(2));
    let written: BTreeSet<_> = cells.map(str::to_owned).collect();
    let mut codes = BTreeSet::new();
    collect_codes(&workspace().join("crates/server/src"), &mut codes);
    assert!(codes.len() > 20, "{codes:?}");
    assert_eq!(written, codes);
}

/// The codes that the server's source has.
fn collect_codes(dir: &Path, codes: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect_codes(&path, codes);
        } else if path.file_name().is_some_and(|name| name != "tests.rs") {
            let text = fs::read_to_string(&path).expect("a source");
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ").replace("( ", "(");
            let chosen = path.ends_with("error.rs").then_some("=> \"");
            for marker in
                ["invalid(\"", "unavailable(\"", "code: \"", "StatusCode::"].into_iter().chain(chosen)
            {
                for (at, _) in text.match_indices(marker) {
                    let mut rest = &text[at + marker.len()..];
                    if marker == "StatusCode::" {
                        rest = rest.trim_start_matches(|c: char| c.is_ascii_uppercase() || c == '_');
                        let Some(literal) = rest.strip_prefix(", \"") else { continue };
                        rest = literal;
                    }
                    let code = rest.split('"').next().unwrap_or_default();
                    if !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
                    {
                        codes.insert(code.to_owned());
                    }
                }
            }
        }
    }
}
