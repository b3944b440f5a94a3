//! `app list` and `app show`: the registry and the trash as they are, beside whoever uses them.

use std::fmt;

use serde::Serialize;
use streamhub::apps::{App, Deleted};
use streamhub::look::Look;
use streamhub::{AppId, status};

use crate::context::Context;
use crate::exit::Code;
use crate::output;
use crate::table::{List, Row, Sheet, or_dash};

/// List all registered apps, by name, or those in the trash
///
/// Works beside a running server and changes nothing.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  streamhub app list --data-dir /srv/media\n  streamhub app list --json | jq -r '.data[].name'\n  streamhub app list --deleted"
)]
pub(crate) struct ListArgs {
    /// Those in the trash: when each was deleted, and after what time it is removed for good
    #[arg(long)]
    deleted: bool,
}

/// Show one app
///
/// Works beside a running server and changes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  streamhub app show news-24 --data-dir /srv/media")]
pub(crate) struct ShowArgs {
    /// The app's name
    name: String,
}

impl Row for App {
    const THINGS: &'static str = "apps";
    const COLUMNS: &'static [&'static str] = &["NAME", "TENANT", "STATE"];

    fn cells(&self) -> Vec<String> {
        vec![self.name.clone(), self.tenant_id.clone(), self.standing().to_owned()]
    }
}

impl Row for Deleted {
    const THINGS: &'static str = "deleted apps";
    const COLUMNS: &'static [&'static str] = &["NAME", "TENANT", "DELETED", "PURGED AFTER"];

    fn cells(&self) -> Vec<String> {
        let purged_after = or_dash(self.purged_after.as_deref());
        vec![self.name.clone(), self.tenant_id.clone(), self.deleted_at.clone(), purged_after]
    }
}

pub(crate) fn list(context: &Context, args: &ListArgs) -> anyhow::Result<Code> {
    let look = context.look()?;
    if args.deleted { print(context, look.deleted_apps()?) } else { print(context, look.apps()?) }
}

fn print<T: Row + Serialize>(context: &Context, things: Vec<T>) -> anyhow::Result<Code> {
    let list = List::of(things);
    output::result(context.json, &list, &list)?;
    Ok(Code::Done)
}

pub(crate) fn show(context: &Context, args: &ShowArgs) -> anyhow::Result<Code> {
    let look = context.look()?;
    let shown = Shown::of(look.app(&args.name)?, &look);
    output::result(context.json, &shown, &shown)?;
    Ok(Code::Done)
}

/// An app with what is on the disk.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    #[serde(flatten)]
    app: App,
    /// Its directory; null where the name cannot be one.
    directory: Option<String>,
    database: Option<Database>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Database {
    path: String,
    size_bytes: u64,
    wal_size_bytes: u64,
}

impl Shown {
    fn of(app: App, look: &Look) -> Self {
        let place = app.name.parse::<AppId>().ok().map(|id| look.data.app(&id));
        let database = place.as_ref().map(streamhub::data_dir::AppPlace::db).filter(|path| path.is_file());
        Self {
            app,
            directory: place.map(|place| place.dir().display().to_string()),
            database: database.map(|path| Database {
                size_bytes: status::bytes(&path),
                wal_size_bytes: status::bytes(&path.with_file_name("app.db-wal")),
                path: path.display().to_string(),
            }),
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let app = &self.app;
        let database = self.database.as_ref().map_or_else(
            || "not there".to_owned(),
            |Database { path, size_bytes, wal_size_bytes }| {
                format!("{path} ({size_bytes} bytes, {wal_size_bytes} in its -wal)")
            },
        );
        let head = [
            ("name", app.name.clone()),
            ("id", app.id.to_string()),
            ("tenant", app.tenant_id.clone()),
            ("state", app.standing().to_owned()),
        ];
        let take_over = app.split_detail.clone().map(|detail| ("take-over", detail));
        let details = [
            ("display name", or_dash(app.display_name.as_deref())),
            ("room prefix", or_dash(app.livekit_room_prefix.as_deref())),
            ("uuid", or_dash(app.uuid_text())),
            ("directory", or_dash(self.directory.as_deref())),
            ("database", database),
            ("created", app.created_at.clone()),
            ("updated", app.updated_at.clone()),
        ];
        Sheet::of(head.into_iter().chain(take_over).chain(details)).fmt(f)
    }
}
