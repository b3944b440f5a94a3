//! The steps of an app's life as a program of its own, for whoever breaks them off.
//!
//! `life-probe make HOME` makes a data directory and the directory of an app from elsewhere.
//! `life-probe VERB HOME` opens it, takes one step (`create`, `delete`, `undelete`, `rename`, `adopt`, `appeared`, `seal`,
//! `config`, `secret` or `stream`), says `+` where that was acknowledged and `- WHY` where not, and closes it. The file
//! `acknowledged` that it then makes is the first operation that the step does not need. For `appeared` the app from
//! elsewhere lies among the others already.
//! `life-probe state HOME` opens it twice and says each time what there is, without uuids and times.

#![allow(clippy::print_stdout, reason = "this program tells what it did and what there is")]
#![allow(clippy::disallowed_methods, reason = "what lies in the directories is looked at from outside")]

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use serde_json::json;
use streamhub::progress::Silent;
use streamhub::streams::{Kind, NewStream};
use streamhub::{Adoption, AppId, Hub, HubError, NewApp, Seal, TenantId, streams};
use streamhub_engine::{Unopened, durable};
use streamhub_tests::probe::{config, ended};

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// An app that no step is about, one that they are about, one in the trash, and one from elsewhere.
const APPS: [&str; 4] = ["keep-one", "work-one", "gone-one", "come-one"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match &arguments[..] {
        [verb, home] => match verb.as_str() {
            "make" => make(Path::new(home)),
            "state" => state(Path::new(home)),
            verb => step(Path::new(home), verb),
        },
        _ => Err("usage: life-probe make|state|VERB HOME".into()),
    };
    ended(result)
}

fn open(dir: &Path) -> Result<Hub, HubError> {
    Hub::open(&config(dir), &Silent)
}

fn id(name: &str) -> AppId {
    name.parse().expect("an app's name")
}

fn stream(name: &str) -> NewStream {
    NewStream::named(name, Kind::Rtmp)
}

fn make(home: &Path) -> Result<()> {
    let data = home.join("data");
    let hub = open(&data)?;
    for name in &APPS[..3] {
        hub.create(&NewApp::new(id(name), TenantId::platform()))?;
        let app = hub.app(&id(name))?;
        app.start_stream(stream(&format!("{name}-over")))?;
        app.end_stream(&format!("{name}-over"))?;
    }
    hub.app(&id("gone-one"))?.start_stream(stream("gone-one-live"))?;
    hub.delete(&id("gone-one"))?;
    fs::write(data.join("apps/work-one/config.yaml"), "# by hand\nname: work-one\nx: 1\n")?;
    hub.set_secret("FIRST", "1")?;
    hub.close()?;
    fs::remove_file(data.join("apps/work-one/app.seal"))?;
    let elsewhere = open(&home.join("elsewhere"))?;
    elsewhere.create(&NewApp::new(id("come-one"), TenantId::platform()))?;
    elsewhere.app(&id("come-one"))?.start_stream(stream("come-one-live"))?;
    elsewhere.close()?;
    let source = home.join("elsewhere/apps/come-one");
    fs::write(source.join("config.yaml"), "# from elsewhere\nname: come-one\n")?;
    // Its tenant is not known here.
    let db = Connection::open(source.join("app.db"))?;
    db.execute("UPDATE _streamhub_meta SET value = 'acme' WHERE key = 'tenant'", [])?;
    db.close().map_err(|(_, error)| error)?;
    let uuid = Seal::read(&source)?.ok_or("a graceful stop seals")?.uuid;
    Seal::of(&Unopened::claim(&source.join("app.db"))?, &uuid, 0)?.write(&source)?;
    durable::rename_new(&source, &home.join("source"))?;
    Ok(fs::remove_dir_all(home.join("elsewhere"))?)
}

fn step(home: &Path, verb: &str) -> Result<()> {
    let hub = open(&home.join("data"))?;
    lengthen(&home.join("data/streamhub.db-wal"))?;
    let work = id("work-one");
    let result = match verb {
        "create" => hub.create(&NewApp::new(id("made-one"), TenantId::platform())).map(drop),
        "delete" => hub.delete(&work).map(drop),
        "undelete" => hub.undelete(&id("gone-one")).map(drop),
        "rename" => hub.rename(&work, &id("other-one")).map(drop),
        "adopt" => hub.adopt(&home.join("source"), &Adoption::default()).map(drop),
        "appeared" => hub.adopt(hub.data().app(&id("come-one")).dir(), &Adoption::default()).map(drop),
        "seal" => hub.seal(&work).map(drop),
        "config" => hub.patch_app_config(&work, &json!({"x": 2, "features": {"chat": true}})).map(drop),
        "secret" => hub.set_secret("SECOND", "2"),
        "stream" => hub.app(&work).and_then(|app| app.start_stream(stream("work-one-live"))).map(drop),
        _ => return Err(format!("{verb} is no step").into()),
    };
    match result {
        Ok(()) => {
            println!("+");
            fs::write(home.join("acknowledged"), [])?;
        }
        Err(error) => println!("- {error} ({:?})", error.kind()),
    }
    // Whatever happened, the others serve.
    match hub
        .app(&id("keep-one"))
        .and_then(|app| app.read(|tx| Ok::<_, HubError>(streams::count_active(tx)?)))
    {
        Ok(live) => println!("others serve {live}"),
        Err(error) => println!("others do not serve: {error}"),
    }
    Ok(hub.close()?)
}

/// Gives a `-wal` room for what follows, as it has where a process is at work for long. A commit that needs more has the
/// file system write its whole journal, and with that the names that nobody synced.
fn lengthen(wal: &Path) -> Result<()> {
    let mut file = OpenOptions::new().append(true).open(wal)?;
    file.write_all(&vec![0; 1 << 19])?;
    Ok(file.sync_all()?)
}

fn state(home: &Path) -> Result<()> {
    let data = home.join("data");
    println!("sealed {}", seals(&data)?.join(" "));
    for _ in 0..2 {
        let control = data.join("streamhub.db");
        let attention = "SELECT kind || ' ' || ref FROM _streamhub_attention";
        let waiting = rows(&control, attention)?;
        let hub = open(&data)?;
        let patience = Instant::now() + Duration::from_secs(20);
        // Upkeep works in the background.
        while rows(&control, attention)?.iter().any(|row| waiting.contains(row)) && Instant::now() < patience
        {
            std::thread::sleep(Duration::from_millis(2));
        }
        hub.close()?;
        println!("opened");
        for line in lines(&data)? {
            println!("{line}");
        }
    }
    Ok(())
}

/// The apps whose seal is good; one that is not is said so.
fn seals(data: &Path) -> Result<Vec<String>> {
    let mut sealed = Vec::new();
    for name in durable::names_in(&data.join("apps"))?.iter().filter(|name| !name.starts_with('.')) {
        let dir = data.join("apps").join(name);
        let Some(seal) = Seal::read(&dir)? else { continue };
        match seal.verify(&Unopened::claim(&dir.join("app.db"))?) {
            Ok(()) => sealed.push(name.clone()),
            Err(error) => sealed.push(format!("{name}=WRONG({error})")),
        }
    }
    Ok(sealed)
}

fn read_only(path: &Path) -> rusqlite::Result<Connection> {
    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

fn rows(path: &Path, sql: &str) -> Result<Vec<String>> {
    let db = read_only(path)?;
    let mut statement = db.prepare(sql)?;
    let rows = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(rows)
}

fn lines(data: &Path) -> Result<Vec<String>> {
    let control = data.join("streamhub.db");
    let mut lines = Vec::new();
    for sql in [
        "SELECT 'app ' || name || ' ' || state || ' ' || generation || ' ' || tenant_id FROM apps ORDER BY id",
        "SELECT 'attention ' || kind || ' ' || ref FROM _streamhub_attention ORDER BY 1",
        "SELECT 'trashed ' || name FROM _streamhub_trash ORDER BY app_id",
    ] {
        lines.extend(rows(&control, sql)?);
    }
    for (name, trash) in [("apps", ""), (".trash", "apps/")] {
        let dir = data.join(format!("{trash}{name}"));
        for entry in durable::names_in(&dir)?.iter().filter(|entry| !entry.starts_with('.')) {
            let app = dir.join(entry);
            let says = rows(
                &app.join("app.db"),
                "SELECT group_concat(value, ' ') FROM _streamhub_meta WHERE key IN ('name', 'tenant')",
            )?;
            lines.push(format!("{name} {}", says.join("")));
            let streams = "SELECT '  ' || stream_id || ' ' || status FROM streams ORDER BY 1";
            lines.extend(rows(&app.join("app.db"), streams)?);
            let known = if name == "apps" { entry.as_str() } else { "" };
            let points = rows(&control, &format!("SELECT uuid FROM apps WHERE name = '{known}'"))?;
            let own = rows(&app.join("app.db"), "SELECT value FROM _streamhub_meta WHERE key = 'uuid'")?;
            if name == "apps" && points.is_empty() {
                lines.push("  unregistered".to_owned());
            } else if name == "apps" && points != own {
                lines.push(format!("WRONG: the registry does not point at {}", app.display()));
            }
            if let Ok(text) = fs::read_to_string(app.join("config.yaml")) {
                lines.push(format!("  config {text:?}"));
            }
        }
    }
    lines.push(format!("secrets {:?}", fs::read_to_string(data.join("secrets.json"))?));
    left_over(data, &mut lines)?;
    Ok(lines)
}

/// What a step may leave behind and a start must clear away.
fn left_over(dir: &Path, lines: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let path: PathBuf = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // What an app's own directory holds goes with its next write, which is not this start's.
        let is_late = name.starts_with("app.seal.") || name.starts_with("config.yaml.");
        if (path.extension().is_some_and(|ending| ending == "part") && !is_late) || dir.ends_with(".staging")
        {
            lines.push(format!("WRONG: {} was left behind", path.display()));
        }
        if path.is_dir() {
            left_over(&path, lines)?;
        }
    }
    Ok(())
}
