//! The repository's `data-example/`: a small media server's older data directory with one of everything that a
//! take-over has to deal with.
//!
//! Every byte follows from the code: no clock, no randomness, so that making it again changes nothing.

mod people;

use std::path::Path;

use super::rows::{Cell, Row, ingress, stream, vod};
use super::tree::{App, Tree};
use people::{INGRESS, ingress_password, push_people, readme};

/// An app of the example, and how much there is of it.
struct Sketch {
    name: &'static str,
    tenant: &'static str,
    /// Month of 2026 in which its rows were made.
    month: u32,
    streams: usize,
    vods: usize,
    /// Its rows are in a `vods.db`; otherwise they are in the registry.
    own_file: bool,
}

const NORDLICHT: &str = "tnt_nordlicht";
const HAFEN: &str = "tnt_hafen";

const APPS: [Sketch; 5] = [
    Sketch { name: "demo", tenant: NORDLICHT, month: 1, streams: 400, vods: 250, own_file: true },
    Sketch { name: "radio", tenant: NORDLICHT, month: 2, streams: 300, vods: 120, own_file: true },
    Sketch { name: "news-24", tenant: HAFEN, month: 3, streams: 500, vods: 300, own_file: true },
    Sketch { name: "archive", tenant: HAFEN, month: 4, streams: 60, vods: 600, own_file: true },
    Sketch { name: "camera-wall", tenant: HAFEN, month: 5, streams: 150, vods: 40, own_file: false },
];

const ORPHAN: Sketch =
    Sketch { name: "old-festival", tenant: NORDLICHT, month: 6, streams: 12, vods: 6, own_file: true };

/// Writes the example into a directory, which is made where it is missing.
pub fn write(dir: &Path) {
    tree().build(dir);
}

/// The example as a description.
pub fn tree() -> Tree {
    // The registry's own streams and vods are from a time before their tables had constraints.
    let mut tree = Tree::new()
        .lax()
        .file("README.md", readme())
        .tenant(NORDLICHT, "Nordlicht Média")
        .tenant(HAFEN, "港 Harbour TV");
    for sketch in &APPS {
        tree = tree.app(sketch.name, |app| sketch.app(app));
    }
    tree = tree.orphan(ORPHAN.name, |app| ORPHAN.app(app));
    // An app that was deleted long ago left these behind.
    tree = tree
        .unowned(stream("festival-main").of_app(99))
        .unowned(stream("festival-second").of_app(99).null("room"))
        .unowned(ingress("IN_old-festival_0").set("app", ORPHAN.name));
    push_people(tree)
}

impl Sketch {
    fn app(&self, app: App) -> App {
        let mut app = app.tenant(self.tenant).config(&self.config());
        app = self.media(app);
        let streams = (0..self.streams).map(|i| self.stream(i));
        let vods = (0..self.vods).map(|i| self.vod(i));
        app = if self.own_file {
            app.vods_db(|db| db.rows(streams).rows(vods))
        } else {
            app.globals(streams).globals(vods)
        };
        app = app.globals(INGRESS.iter().filter(|i| i.app == self.name).map(ingress_password));
        match self.name {
            "demo" => app.globals(self.older_rows()),
            "news-24" => app.global(self.vod(self.vods).set("status", "paused")),
            _ => app,
        }
    }

    /// What the registry still has of an app that has a `vods.db`: other rows under the same ids, some of the same rows,
    /// and one stream in a second version.
    fn older_rows(&self) -> Vec<Row> {
        let others = (0..60).map(|i| {
            let row = self.stream(i).set("stream_id", format!("{}-older-{i:04}", self.name));
            row.id(id(i))
        });
        let vods = (0..40).map(|i| self.vod(i).set("name", format!("older-{i:04}.mp4")).id(id(i)));
        let same = (100..110).map(|i| self.stream(i));
        let second = self.stream(7).set("room", "another room").null("last_stats_json");
        others.chain(vods).chain(same).chain([second]).collect()
    }

    fn stream(&self, i: usize) -> Row {
        let kinds = ["webrtc", "rtmp", "rtsp", "whip"];
        let people = ["p1", "ünïcode 参加者", "Zoë", "it's me", "🎥 cam"];
        let row = stream(&format!("{}-st-{i:04}", self.name))
            .set("type", kinds[i % kinds.len()])
            .set("room", self.room(i))
            .set("participant", (i % 7 != 3).then(|| people[i % people.len()]))
            .set("status", if i % 50 == 49 { "active" } else { "ended" })
            .set("started_at", self.moment(i * 61, i.is_multiple_of(3)))
            .set("ended_at", (i % 50 != 49).then(|| self.moment(i * 61 + 42, i.is_multiple_of(2))));
        if i % 4 == 1 {
            row.set("last_stats_json", format!(r#"{{"viewers":{},"q":"it's"}}"#, i % 90))
        } else {
            row
        }
    }

    fn vod(&self, i: usize) -> Row {
        let size = id(i) * 7_919_333;
        let name = format!("rec-{i:04}.mp4");
        let states = ["ready", "ready", "ready", "uploading", "failed", "recording"];
        vod(&name)
            .set(
                "stream_id",
                (!i.is_multiple_of(3)).then(|| format!("{}-st-{:04}", self.name, i % self.streams)),
            )
            .set("room", self.room(i))
            .set("file_key", format!("example/{}/{name}", self.name))
            .set("public_url", (i % 5 == 2).then(|| format!("https://media.example/{}/{name}", self.name)))
            .set("size_bytes", (i % 11 != 5).then_some(size))
            .set(
                "duration_s",
                (i % 11 != 5).then(|| f64::from(u32::try_from(i).expect("few rows")) * 3.25 + 0.5),
            )
            .set("height", if i.is_multiple_of(2) { 1080 } else { 720 })
            .set("width", if i.is_multiple_of(2) { 1920 } else { 1280 })
            .set("status", if i == 0 { "ready" } else { states[i % states.len()] })
            .set("started_at", (i % 13 != 12).then(|| self.moment(i * 67, i % 2 == 1)))
            .set("ended_at", (i % 6 != 5).then(|| self.moment(i * 67 + 30, i % 3 == 1)))
            .set(
                "metatags_json",
                (i % 4 == 3).then(|| format!(r#"{{"title":"Aufnahme №{i}","lang":"日本語"}}"#)),
            )
            .set("snapshot_key", if i == 0 { Cell::from("snapshots/rec-0000.jpg") } else { Cell::Null })
    }

    fn room(&self, i: usize) -> Cell {
        match i % 9 {
            8 => Cell::Null,
            4 => "größe & maß".into(),
            n => format!("{}-room-{n}", self.name).into(),
        }
    }

    /// A moment in the app's month, in one of the two spellings of the older system.
    fn moment(&self, minutes: usize, iso: bool) -> String {
        let (days, minutes) = (minutes / 1440 % 28, minutes % 1440);
        let (hour, minute) = (minutes / 60, minutes % 60);
        let date = format!("2026-{:02}-{:02}", self.month, days + 1);
        if iso {
            format!("{date}T{hour:02}:{minute:02}:01.{:03}Z", minutes % 1000)
        } else {
            format!("{date} {hour:02}:{minute:02}:01")
        }
    }

    fn config(&self) -> String {
        let name = self.name;
        let secret = format!("APP_{}", name.to_uppercase().replace('-', "_"));
        format!(
            "name: {name}
display_name: {title}
room_prefix: {name}
recording:
  enabled: true
  mode: room-composite
  local_dir: recordings
  split_minutes: 0
s3:
  provider: minio
  bucket: example-media
  endpoint: https://s3.example
  prefix: example/{name}
  # The names of secrets. Their values are in the environment or in secrets.json, never here.
  access_key_env: {secret}_S3_KEY
  secret_key_env: {secret}_S3_SECRET
callbacks:
  url: https://hooks.example/{name}
  secret_env: {secret}_CALLBACK_SECRET
mqtt:
  enabled: false
  password_env: {secret}_MQTT_PASSWORD
features:
  chat: false
  public_playback: {public}
",
            title = name.to_uppercase(),
            public = name != "camera-wall",
        )
    }

    /// A file in each media folder, of the right kind and as small as that allows.
    fn media(&self, app: App) -> App {
        const FILM: &[u8] = b"\0\0\0\x18ftypisom\0\0\x02\0isommp42\0\0\0\x08free";
        let mut packet = vec![0xFF_u8; 188];
        packet[..4].copy_from_slice(&[0x47, 0x1F, 0xFF, 0x10]);
        let list = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\nsegment-0.ts\n#EXT-X-ENDLIST\n";
        app.file("recordings/rec-0000.mp4", FILM)
            .file(&format!("hls/{}-room-0/index.m3u8", self.name), list)
            .file(&format!("hls/{}-room-0/segment-0.ts", self.name), packet)
            .file("snapshots/rec-0000.jpg", b"\xFF\xD8\xFF\xE0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0\xFF\xD9")
            .file("samples/intro.mp4", FILM)
    }
}

fn id(i: usize) -> i64 {
    i64::try_from(i).expect("few rows") + 1
}
