//! Every command of the README works, on a copy of data-example.

use std::path::Path;
use std::process::Command;

use streamhub_tests::command::{Server, Streamhub, binary};
use streamhub_tests::files::{build_tmp, copy_tree, scratch, tree_changes, tree_digest};
use streamhub_tests::process;
use streamhub_tests::skip::{skip, workspace};

/// The lines of all fenced shell blocks.
fn shell_lines(text: &str) -> Vec<&str> {
    let mut inside = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            line if inside && !line.is_empty() => lines.push(line),
            _ => {}
        }
    }
    lines
}

fn readme() -> String {
    std::fs::read_to_string(workspace().join("README.md")).expect("there is a README")
}

fn wait_until_ready(server: &Server, path: &str) {
    while server.get(path).status == 503 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(server.get(path).status, 200, "{}", server.stderr());
}

#[test]
fn every_shell_command_works() {
    let dir = scratch();
    let (data, copy) = (dir.path().join("media"), dir.path().join("usb/news-24"));
    copy_tree(&workspace().join("data-example"), &data);
    let mut seen = 0;
    let text = readme();
    let mut lines = shell_lines(&text).into_iter().peekable();
    while let Some(line) = lines.next() {
        seen += 1;
        let words: Vec<_> = line.split_whitespace().collect();
        match words.as_slice() {
            ["scripts/example.sh"] => example(),
            ["scripts/test.sh"] => {
                let ci = std::fs::read_to_string(workspace().join(".ci/run")).expect("there is a .ci/run");
                assert!(ci.contains("scripts/test.sh"), "CI does not run the README's test command");
            }
            ["streamhub", "serve", "--data-dir", "/srv/media"] => {
                let server = Streamhub::new(&data).serve();
                wait_until_ready(&server, "/ready");
                let asking = |line: &&str| line.starts_with("TOKEN=") || line.starts_with("curl ");
                let asked: Vec<_> = std::iter::from_fn(|| lines.next_if(asking)).collect();
                seen += asked.len();
                ask(&asked, &server, &data);
                server.stop();
            }
            ["streamhub", "app", "create", app, "--data-dir", "/srv/media"] => {
                let _ = Streamhub::new(dir.path().join("new")).run(["app", "create", app]).expect(0);
            }
            ["streamhub", "app", "seal", app, "--data-dir", "/srv/media"] => {
                let _ = Streamhub::new(&data).run(["app", "seal", app]).expect(0);
            }
            ["cp", "-r", "/srv/media/apps/news-24", "/mnt/usb/"] => {
                copy_tree(&data.join("apps/news-24"), &copy);
            }
            ["streamhub", "app", "adopt", "/mnt/usb/news-24", "--data-dir", "/srv/elsewhere"] => {
                let elsewhere = Streamhub::new(dir.path().join("elsewhere"));
                let _ = elsewhere.run(["app", "adopt", copy.to_str().expect("UTF-8")]).expect(0);
                let _ = elsewhere.run(["app", "health", "news-24"]).expect(0);
            }
            ["streamhub", "migrate", "--data-dir", "/srv/media", rest @ ..] => {
                let arguments = ["migrate"].iter().chain(rest);
                let _ = Streamhub::new(&data).run(arguments).expect(0);
            }
            _ => panic!("no test runs this line of the README: {line}"),
        }
    }
    assert!(seen >= 10, "only {seen} commands were found");
}

/// Runs commands that ask a server, on the port that the system chose.
fn ask(lines: &[&str], server: &Server, data: &Path) {
    let data = data.to_str().expect("UTF-8");
    let script = lines.join("\n").replace("/srv/media", data);
    let script =
        script.replace("127.0.0.1:3020", &server.address().to_string()).replace("curl -s ", "curl -sSf ");
    let script = format!("streamhub() {{ \"$STREAMHUB\" \"$@\"; }}\n{script}");
    if Command::new("curl").arg("--version").output().is_err() {
        return skip("readme::every_shell_command_works", "there is no curl");
    }
    let mut bash = Command::new("bash");
    let ended = process::run(bash.args(["-euc", &script]).env("STREAMHUB", binary()));
    assert!(ended.success(), "{script}\n{}", ended.describe());
    for printed in [r#""name":"news-24""#, r#""streamId":"live/cam""#] {
        assert!(ended.stdout.contains(printed), "{}", ended.describe());
    }
}

/// The first command of the README: takes the example over, says so app by app, serves, and changes
/// no tracked file.
fn example() {
    let source = workspace().join("data-example");
    let before = tree_digest(&source);
    binary();
    let target = build_tmp();
    let target = target.parent().expect("the temporary directory lies in the build directory");
    let mut command = Command::new(workspace().join("scripts/example.sh"));
    command.args(["--listen", "127.0.0.1:0"]).env("CARGO_TARGET_DIR", target);
    command.env_remove("DATABASE_URL").current_dir(Path::new("/"));
    let server = Server::start(command).unwrap_or_else(|ended| panic!("{}", ended.describe()));
    wait_until_ready(&server, "/ready");
    let said = server.stderr();
    for app in ["demo", "radio", "news-24", "archive", "camera-wall"] {
        assert!(said.lines().any(|line| line.starts_with(app)), "no report of {app}:\n{said}");
    }
    assert_eq!(server.stop().code, Some(0));
    assert_eq!(tree_changes(&before, &tree_digest(&source)), Vec::<String>::new());
}

#[test]
fn every_listed_command_has_help_with_an_example() {
    let text = readme();
    let table: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `streamhub "))
        .filter_map(|row| row.split(" | ").next())
        .collect();
    assert!(table.len() >= 8, "the table of commands is not where it was");
    for cell in table {
        for command in cell.split(", ") {
            let command = command.trim_matches('`').trim_start_matches("streamhub ");
            let words =
                command.split(' ').filter(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '-'));
            let output = Streamhub::bare().run(words.chain(["--help"])).expect(0);
            assert!(output.stdout().contains("Example"), "`streamhub {command} --help` shows no example");
        }
    }
}

#[test]
fn every_command_is_listed() {
    let text = readme();
    let mut waiting = vec![Vec::<String>::new()];
    let mut commands = 0;
    while let Some(words) = waiting.pop() {
        let arguments = words.iter().map(String::as_str).chain(["--help"]);
        let output = Streamhub::bare().run(arguments).expect(0);
        let below = output.stdout().lines().skip_while(|line| *line != "Commands:").skip(1);
        let names: Vec<_> = below
            .take_while(|line| !line.is_empty())
            .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
            .filter_map(|line| line.split_whitespace().next().filter(|name| *name != "help"))
            .collect();
        if names.is_empty() {
            let command = format!("`streamhub {}", words.join(" "));
            let is_listed = [" ", "`"].iter().any(|end| text.contains(&format!("{command}{end}")));
            assert!(is_listed, "{command}` is not listed");
            commands += 1;
        }
        waiting.extend(names.into_iter().map(|name| [words.as_slice(), &[name.to_owned()]].concat()));
    }
    assert!(commands > 40, "{commands}");
}

#[test]
fn every_setting_is_explained() {
    let guide = std::fs::read_to_string(workspace().join("docs/API.md")).expect("there is a guide");
    let explained: Vec<_> = guide
        .lines()
        .skip_while(|line| *line != "## Settings")
        .filter_map(|line| line.strip_prefix("| `")?.split(" |").next())
        .flat_map(|keys| keys.split(", "))
        .map(|key| key.trim_matches('`'))
        .collect();
    let dir = scratch();
    let shown = Streamhub::new(dir.path().join("data")).run(["config", "show"]).expect(0);
    for key in shown.stdout().lines().filter_map(|line| line.split(' ').next()) {
        assert!(explained.contains(&key), "{key} is not explained");
    }
}
