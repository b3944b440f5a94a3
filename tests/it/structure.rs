//! The house rules: walls between crates, modules that introduce themselves, files of a readable size.
//!
//! Each rule is a function from its input to findings, so that it can be shown to find something;
//! the tests then apply it to this repository. What must not be written is put together from pieces
//! here, or this file would be its own finding.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// A crate of this workspace and those of this workspace that it may use.
const WALLS: &[(&str, &[&str])] = &[
    ("streamhub-engine", &[]),
    ("streamhub-control", &["streamhub-engine"]),
    ("streamhub-appstore", &["streamhub-engine"]),
    ("streamhub", &["streamhub-engine", "streamhub-control", "streamhub-appstore"]),
    ("streamhub-split", &["streamhub", "streamhub-engine", "streamhub-control", "streamhub-appstore"]),
    ("streamhub-server", &["streamhub"]),
    ("streamhub-cli", &["streamhub", "streamhub-split", "streamhub-server"]),
    (
        TESTS,
        &[
            "streamhub",
            "streamhub-engine",
            "streamhub-control",
            "streamhub-appstore",
            "streamhub-split",
            "streamhub-server",
            "streamhub-cli",
        ],
    ),
];

/// An external crate and those that may use it; the tests may use any that is listed.
const EXTERNAL: &[(&str, &[&str])] = &[
    ("serde", EVERYONE),
    ("schemars", EVERYONE),
    ("serde_json", EVERYONE),
    ("thiserror", EVERYONE),
    ("tracing", EVERYONE),
    // Databases stay below the hub.
    ("rusqlite", &["streamhub-engine", "streamhub-control", "streamhub-appstore", "streamhub-split"]),
    ("nix", &["streamhub-engine"]),
    ("r2d2", &["streamhub-engine"]),
    ("r2d2_sqlite", &["streamhub-engine"]),
    ("scheduled-thread-pool", &["streamhub-engine"]),
    ("dashmap", &["streamhub-engine"]),
    ("shuttle", &["streamhub-engine"]),
    ("allocation-counter", &[]),
    ("plotters", &[]),
    ("jiff", &["streamhub-engine"]),
    ("uuid", &["streamhub-engine"]),
    ("blake3", &["streamhub-engine", "streamhub", "streamhub-split"]),
    ("argon2", &["streamhub-control"]),
    ("ipnet", &["streamhub-control"]),
    ("saphyr-parser", &["streamhub"]),
    ("yaml_serde", &["streamhub", "streamhub-cli"]),
    // What is below the hub blocks, and knows no runtime.
    ("tokio", &["streamhub", "streamhub-server", "streamhub-cli"]),
    ("axum", &["streamhub-server"]),
    ("hyper", &["streamhub-server"]),
    ("hyper-util", &["streamhub-server"]),
    ("tower-http", &["streamhub-server"]),
    ("futures-util", &["streamhub-server"]),
    ("prometheus-client", &["streamhub-server"]),
    ("clap", &["streamhub-cli"]),
    ("clap_complete", &["streamhub-cli"]),
    ("indicatif", &["streamhub-cli"]),
    ("ureq", &["streamhub-cli"]),
    ("anyhow", &["streamhub-cli"]),
    // The log is collected for the control database.
    ("tracing-subscriber", &["streamhub", "streamhub-cli"]),
    // Hashes of tokens and passwords, and second factors, the older system's among them.
    ("sha2", &["streamhub-control", "streamhub-appstore"]),
    ("scrypt", &["streamhub-control", "streamhub-appstore"]),
    ("subtle", &["streamhub-control", "streamhub-appstore"]),
    ("aes-gcm", &["streamhub-control"]),
    ("hmac", &["streamhub-control"]),
    ("sha1", &["streamhub-control"]),
    ("data-encoding", &["streamhub-control"]),
];

const EVERYONE: &[&str] = &["*"];

/// What the examples of one crate may use beyond that, and why.
const FOR_EXAMPLES: &[(&str, &str, &str)] = &[
    ("streamhub", "axum", "embed.rs is a media server with an HTTP server of its own"),
    ("streamhub", "streamhub-split", "embed.rs wires in what takes older data over"),
];

/// External crates that any crate may use in its unit tests, and no crate otherwise.
const FOR_UNIT_TESTS: &[&str] = &["tempfile", "proptest"];

const TESTS: &str = "streamhub-tests";

/// How long a file may be.
const LONGEST: usize = 500;

/// Files that are longer, and why.
const LONG: &[(&str, &str)] = &[];

/// What may stand at the top; a `*` at an end stands for anything.
const TOP: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "crates",
    "data-example",
    "migrations",
    "tests",
    "docs",
    "README.md",
    "CHANGELOG.md",
    "LICENSE-*",
    "clippy.toml",
    "deny.toml",
    "rustfmt.toml",
    "scripts",
    ".cargo",
    ".ci",
    ".github",
    ".gitignore",
    ".gitattributes",
    ".git",
    "target",
];

/// Directories at the top of some machine, in which no file of this project may believe.
const MACHINE: &[&str] = &[concat!("/wo", "rk"), concat!("/ro", "ot"), concat!("/ho", "me")];

/// Words for work that was left undone.
const UNDONE: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];

/// Rust that hides a failure or puts it off.
const EVASIVE: &[&str] = &[
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("#[ig", "nore"),
    concat!("#[should", "_panic"),
];

/// A text file of this repository.
struct Source {
    /// Its place below the top, with slashes.
    path: String,
    text: String,
}

impl Source {
    fn is_rust(&self) -> bool {
        Path::new(&self.path).extension().is_some_and(|extension| extension == "rs")
    }
}

fn crossed_walls(metadata: &Value) -> Vec<String> {
    let mut findings = Vec::new();
    for package in array(&metadata["packages"]) {
        let name = text(&package["name"]);
        let Some((_, may_use)) = WALLS.iter().find(|(known, _)| *known == name) else {
            findings.push(format!("{name} has no row in WALLS"));
            continue;
        };
        for dependency in array(&package["dependencies"]) {
            let used = text(&dependency["name"]);
            let for_examples = dependency["kind"] == "dev"
                && FOR_EXAMPLES.iter().any(|(user, what, _)| (*user, *what) == (name, used));
            let allowed = if for_examples {
                true
            } else if used.starts_with("streamhub") {
                may_use.contains(&used)
            } else if FOR_UNIT_TESTS.contains(&used) {
                name == TESTS || dependency["kind"] == "dev"
            } else {
                let row = EXTERNAL.iter().find(|(known, _)| *known == used);
                row.is_some_and(|(_, by)| name == TESTS || *by == EVERYONE || by.contains(&name))
            };
            if !allowed {
                findings.push(format!("{name} may not use {used}"));
            }
        }
    }
    findings
}

fn modules_without_introduction(sources: &[Source]) -> Vec<String> {
    let silent = sources.iter().filter(|source| source.is_rust() && !source.text.starts_with("//! "));
    silent.map(|source| format!("{} does not begin with //!", source.path)).collect()
}

fn long_files(sources: &[Source], listed: &[(&str, &str)]) -> Vec<String> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| source.is_rust()) {
        let lines = source.text.lines().count();
        match listed.iter().find(|(path, _)| *path == source.path) {
            None if lines > LONGEST => findings.push(format!("{} has {lines} lines", source.path)),
            Some((_, "")) => {
                findings.push(format!("{} is listed without a reason", source.path));
            }
            Some(_) if lines <= LONGEST => findings.push(format!("{} is short again", source.path)),
            _ => {}
        }
    }
    let gone = listed.iter().filter(|(path, _)| !sources.iter().any(|source| source.path == *path));
    findings.extend(gone.map(|(path, _)| format!("{path} is listed and not there")));
    findings
}

fn strangers_at_the_top(entries: &[String]) -> Vec<String> {
    let known = |entry: &str| {
        TOP.iter().any(|known| match known.strip_suffix('*') {
            Some(beginning) => entry.starts_with(beginning),
            None => entry == *known,
        })
    };
    entries
        .iter()
        .filter(|entry| !known(entry))
        .map(|entry| format!("{entry} is not known at the top"))
        .collect()
}

fn paths_of_a_machine(sources: &[Source]) -> Vec<String> {
    find_lines(sources, |line| MACHINE.iter().find(|place| names_directory(line, place)).copied())
}

/// Whether `line` names the directory `place` itself or something in it, and not a part of a longer path.
fn names_directory(line: &str, place: &str) -> bool {
    let part_of_name = |character: char| character.is_alphanumeric() || "._-".contains(character);
    line.match_indices(place).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + place.len()..].chars().next();
        !before.is_some_and(|before| part_of_name(before) || "~})>*]".contains(before))
            && !after.is_some_and(part_of_name)
    })
}

fn undone(sources: &[Source]) -> Vec<String> {
    find_lines(sources, |line| UNDONE.iter().find(|word| line.contains(**word)).copied())
}

fn evasions(sources: &[Source]) -> Vec<String> {
    let rust = sources.iter().filter(|source| source.is_rust());
    find_lines(rust, |line| EVASIVE.iter().find(|word| line.contains(**word)).copied())
}

fn allowed_without_reason(sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| source.is_rust()) {
        for attribute in ["[allow(", "[expect("] {
            for (at, _) in source.text.match_indices(attribute) {
                let is_attribute = source.text[..at].trim_end_matches('!').ends_with('#');
                let rest = &source.text[at..];
                let end = rest.find(")]").unwrap_or(rest.len());
                if is_attribute && !rest[..end].contains("reason = \"") {
                    let line = source.text[..at].lines().count();
                    findings.push(format!("{}:{line} allows a lint without a reason", source.path));
                }
            }
        }
    }
    findings
}

fn find_lines<'a>(
    sources: impl IntoIterator<Item = &'a Source>,
    found: impl Fn(&str) -> Option<&'static str>,
) -> Vec<String> {
    let mut findings = Vec::new();
    for source in sources {
        for (index, line) in source.text.lines().enumerate() {
            if let Some(what) = found(line) {
                findings.push(format!("{}:{} has {what}", source.path, index + 1));
            }
        }
    }
    findings
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The top of this repository.
fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the workspace is there")
}

fn metadata() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(top())
        .output()
        .expect("cargo can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON")
}

/// All text files; what is built and what git keeps for itself is left out.
fn sources() -> Vec<Source> {
    let top = top();
    let (mut found, mut directories) = (Vec::new(), vec![top.clone()]);
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("a directory of the repository") {
            let entry = entry.expect("a directory entry");
            let path = entry.path();
            let kind = entry.file_type().expect("a file type");
            if kind.is_dir() && ![".git", "target"].contains(&&*entry.file_name().to_string_lossy()) {
                directories.push(path);
            // Databases are not even looked at: closing a plain handle of one that another test in this
            // process has open would drop its locks.
            } else if kind.is_file()
                && path.extension().is_none_or(|extension| extension != "db")
                && let Ok(text) = fs::read_to_string(&path)
            {
                let path = path.strip_prefix(&top).expect("below the top").to_string_lossy().into_owned();
                found.push(Source { path, text });
            }
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    assert!(found.len() > 20, "the repository was not found: {} files", found.len());
    found
}

#[track_caller]
fn none(findings: &[String]) {
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
}

#[track_caller]
fn finds(findings: &[String], expected: &[&str]) {
    assert_eq!(findings, expected);
}

fn source(path: &str, text: impl Into<String>) -> Source {
    Source { path: path.to_owned(), text: text.into() }
}

#[test]
fn no_wall_is_crossed() {
    none(&crossed_walls(&metadata()));
}

#[test]
fn every_module_says_what_it_is() {
    none(&modules_without_introduction(&sources()));
}

#[test]
fn files_are_of_a_readable_size() {
    none(&long_files(&sources(), LONG));
}

#[test]
fn the_top_level_holds_what_is_known() {
    let entries = fs::read_dir(top()).expect("the top");
    let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    none(&strangers_at_the_top(&names.collect::<Vec<_>>()));
}

#[test]
fn no_file_knows_a_machine() {
    none(&paths_of_a_machine(&sources()));
}

#[test]
fn nothing_is_left_undone() {
    let sources = sources();
    none(&undone(&sources));
    none(&evasions(&sources));
}

#[test]
fn every_allowed_lint_has_a_reason() {
    none(&allowed_without_reason(&sources()));
}

#[test]
fn a_crossed_wall_is_found() {
    let package = |name: &str, uses: &[&str]| {
        let uses: Vec<Value> = uses.iter().map(|used| serde_json::json!({ "name": used })).collect();
        serde_json::json!({ "packages": [{ "name": name, "dependencies": uses }] })
    };
    none(&crossed_walls(&package("streamhub-control", &["streamhub-engine", "rusqlite", "serde"])));
    none(&crossed_walls(&package(TESTS, &["scrypt", "rusqlite", "streamhub-split"])));
    for (name, used) in [
        ("streamhub-engine", "tokio"),
        ("streamhub-engine", "axum"),
        ("streamhub-engine", "streamhub-control"),
        ("streamhub-control", "streamhub-appstore"),
        ("streamhub-appstore", "streamhub-control"),
        ("streamhub", "streamhub-split"),
        ("streamhub", "rusqlite"),
        ("streamhub", "axum"),
        ("streamhub-server", "rusqlite"),
        ("streamhub-server", "streamhub-engine"),
        ("streamhub-server", "clap"),
        ("streamhub-cli", "axum"),
        ("streamhub-cli", "streamhub-control"),
        ("streamhub-split", "scrypt"),
        ("streamhub-cli", "left-pad"),
        ("streamhub", "tempfile"),
        (TESTS, "left-pad"),
    ] {
        finds(&crossed_walls(&package(name, &[used])), &[&format!("{name} may not use {used}")]);
    }
    let for_tests = |name: &str, used: &str| {
        let mut package = package(name, &[used]);
        package["packages"][0]["dependencies"][0]["kind"] = "dev".into();
        crossed_walls(&package)
    };
    for used in ["tempfile", "axum", "streamhub-split"] {
        none(&for_tests("streamhub", used));
    }
    finds(&for_tests("streamhub", "clap"), &["streamhub may not use clap"]);
    finds(&for_tests("streamhub-engine", "axum"), &["streamhub-engine may not use axum"]);
    finds(&crossed_walls(&package("streamhub-utils", &[])), &["streamhub-utils has no row in WALLS"]);
}

#[test]
fn a_module_without_introduction_is_found() {
    let sources = [source("a.rs", "//! A.\n"), source("b.rs", "use x;\n//! B.\n"), source("c.md", "text")];
    finds(&modules_without_introduction(&sources), &["b.rs does not begin with //!"]);
}

#[test]
fn a_long_file_is_found() {
    let lines = |count: usize| "x\n".repeat(count);
    let sources = [source("a.rs", lines(500)), source("b.rs", lines(501)), source("c.sql", lines(501))];
    finds(&long_files(&sources, &[]), &["b.rs has 501 lines"]);
    none(&long_files(&sources, &[("b.rs", "one state machine")]));
    finds(&long_files(&sources, &[("b.rs", "")]), &["b.rs is listed without a reason"]);
    finds(
        &long_files(&sources, &[("a.rs", "r"), ("b.rs", "r"), ("d.rs", "r")]),
        &["a.rs is short again", "d.rs is listed and not there"],
    );
}

#[test]
fn a_stranger_at_the_top_is_found() {
    let entries = ["Cargo.toml", "LICENSE-MIT", "notes.txt", ".gitignored", "LICENSE"].map(String::from);
    finds(
        &strangers_at_the_top(&entries),
        &[
            "notes.txt is not known at the top",
            ".gitignored is not known at the top",
            "LICENSE is not known at the top",
        ],
    );
}

#[test]
fn a_path_of_a_machine_is_found() {
    for place in MACHINE {
        for bad in
            [format!("cd {place}/x"), format!("\"{place}\""), format!("({place}/a)"), (*place).to_owned()]
        {
            let found = paths_of_a_machine(&[source("a.sh", format!("fine\n{bad}\n"))]);
            finds(&found, &[&format!("a.sh:2 has {place}")]);
        }
        for good in [
            format!("read{place}"),
            format!("a.b{place}/c"),
            format!("{place}er/x"),
            format!("${{DIR}}{place}"),
        ] {
            none(&paths_of_a_machine(&[source("a.sh", good)]));
        }
    }
}

#[test]
fn what_is_undone_is_found() {
    for word in UNDONE {
        finds(&undone(&[source("a.md", format!("{word} later"))]), &[&format!("a.md:1 has {word}")]);
    }
    for word in EVASIVE {
        let code = format!("    {word}");
        finds(&evasions(&[source("a.rs", code.clone())]), &[&format!("a.rs:1 has {word}")]);
        none(&evasions(&[source("a.md", code)]));
    }
}

#[test]
fn an_allowed_lint_without_reason_is_found() {
    let lint = |hash: &str, inside: &str| format!("//! A.\n{hash}[allow({inside})]\nfn f() {{}}\n");
    for hash in ["#", "#!"] {
        let bad = source("a.rs", lint(hash, "dead_code"));
        finds(&allowed_without_reason(&[bad]), &["a.rs:2 allows a lint without a reason"]);
        none(&allowed_without_reason(&[source("a.rs", lint(hash, "dead_code,\n    reason = \"x\""))]));
    }
    let expected = source("a.rs", ["#", "[expect(unused)]"].concat());
    finds(&allowed_without_reason(&[expected]), &["a.rs:1 allows a lint without a reason"]);
}
