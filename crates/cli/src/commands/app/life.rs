//! `app create`, `rename`, `delete` and `undelete`.

use serde::Serialize;
use streamhub::{AppId, NewApp, TenantId};

use super::known;
use crate::admin::{App, InTrash};
use crate::context::Context;
use crate::exit::Code;
use crate::output;
use crate::reach::Missing;

/// Make an app with an empty database
///
/// When this ends with 0 the app is durable. A data directory that is not there is made.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  streamhub app create news-24 --data-dir /srv/media\n  streamhub app create news-24 --tenant acme --display-name 'News 24' --room-prefix news-"
)]
pub(crate) struct CreateArgs {
    /// Its name: 3 to 32 of a-z, 0-9 and '-', beginning and ending with a letter or digit
    name: AppId,
    /// Whose it is
    #[arg(long, value_name = "ID", default_value = "platform")]
    tenant: TenantId,
    /// A name for people
    #[arg(long, value_name = "TEXT")]
    display_name: Option<String>,
    /// Prefix of its room names
    #[arg(long, value_name = "PREFIX")]
    room_prefix: Option<String>,
}

/// Give an app another name
///
/// Media servers and clients that know the old name have to be told. Tokens go on working.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  streamhub app rename news-24 news-world --data-dir /srv/media")]
pub(crate) struct RenameArgs {
    /// The name that it has
    old: String,
    /// The name that it gets
    new: AppId,
}

/// Move an app to the trash
///
/// Its name is free then. For 30 days `streamhub app undelete` brings it back, media and all; after that a
/// server that runs, or the next one that starts, removes it for good. `streamhub app list --deleted` shows when.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  streamhub app delete news-24 --data-dir /srv/media")]
pub(crate) struct DeleteArgs {
    /// The app's name
    name: String,
    /// Its directory is gone for good: forget the app, with no way back
    #[arg(long)]
    lost: bool,
}

/// Bring an app back from the trash
///
/// Of several that had the name, the one that was deleted last comes back.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  streamhub app undelete news-24 --data-dir /srv/media")]
pub(crate) struct UndeleteArgs {
    /// The name that it had
    name: String,
}

#[derive(Serialize)]
struct Gone<'a> {
    deleted: bool,
    name: &'a AppId,
    #[serde(skip_serializing_if = "Option::is_none")]
    flaw: Option<String>,
}

pub(crate) fn create(context: &Context, args: CreateArgs) -> anyhow::Result<Code> {
    let CreateArgs { name, tenant, display_name, room_prefix } = args;
    // Where nothing is, there is the platform's tenant only, and a refusal leaves nothing behind.
    let missing = if tenant == TenantId::platform() { Missing::Created } else { Missing::Refused };
    let new = NewApp { name, tenant, display_name, room_prefix };
    context.administrate(missing, |admin| print(context, "made", &admin.create_app(&new)?))
}

pub(crate) fn rename(context: &Context, args: &RenameArgs) -> anyhow::Result<Code> {
    let old = known(&args.old)?;
    context.administrate(Missing::Refused, |admin| {
        print(context, "renamed", &admin.rename_app(&old, &args.new)?)
    })
}

pub(crate) fn delete(context: &Context, args: &DeleteArgs) -> anyhow::Result<Code> {
    let name = known(&args.name)?;
    context.administrate(Missing::Refused, |admin| {
        let (people, flaw) = if args.lost {
            admin.forget_app(&name)?;
            (format!("{name} is forgotten; its name is free"), None)
        } else {
            let deleted = admin.delete_app(&name)?;
            (in_the_trash(&name, &deleted), deleted.flaw)
        };
        output::result(context.json, &Gone { deleted: true, name: &name, flaw }, &people)
    })
}

pub(crate) fn undelete(context: &Context, args: &UndeleteArgs) -> anyhow::Result<Code> {
    let name = known(&args.name)?;
    context.administrate(Missing::Refused, |admin| print(context, "back", &admin.undelete_app(&name)?))
}

fn in_the_trash(name: &AppId, deleted: &InTrash) -> String {
    let Some(flaw) = &deleted.flaw else {
        return format!("{name} is in the trash; `streamhub app undelete {name}` brings it back");
    };
    let place = deleted.dir.as_ref().map_or_else(|| "the trash".to_owned(), |dir| dir.display().to_string());
    format!(
        "{name} is out of service, and its directory lies in {place} as it was. `streamhub app undelete {name}` \
         refuses it until its database is mended: {flaw}"
    )
}

fn print(context: &Context, what: &str, app: &App) -> anyhow::Result<()> {
    output::result(context.json, app, &format_args!("{} of tenant {} is {what}", app.name, app.tenant_id))
}
