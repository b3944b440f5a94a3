//! `app seal` and `app adopt`: an app as a directory that can be copied.

use std::fmt;
use std::path::PathBuf;

use streamhub::{Adoption, Hub, HubError, Proof, TenantId, boot};

use super::known;
use crate::admin::Adopted;
use crate::context::Context;
use crate::exit::Code;
use crate::output;
use crate::reach::Missing;

/// Seal an app, so that copies of its directory can be told to be whole
///
/// Writes everything into its database file and the file's size and hash into app.seal beside it. The seal
/// holds until the next write.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  streamhub app seal news-24 --data-dir /srv/media && cp -r /srv/media/apps/news-24 /mnt/usb/"
)]
pub(crate) struct SealArgs {
    /// The app's name
    name: String,
}

/// Copy an app's directory from elsewhere among the apps, and register it
///
/// The directory is left as it is; one that lies in the data directory's own apps/ is registered where it
/// lies. Its identity, schema and seal are checked first; a name or uuid that is here already is refused. A
/// data directory that is not there is made.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  streamhub app adopt /mnt/usb/news-24 --data-dir /srv/media\n  streamhub app adopt /mnt/usb/news-24 --tenant acme --unsealed\n  streamhub app adopt /srv/media/apps/news-24 --data-dir /srv/media"
)]
pub(crate) struct AdoptArgs {
    /// The directory, which holds an app.db
    dir: PathBuf,
    /// Whose it is to be; without this the tenant that it had, made with default quotas where it is not known
    #[arg(long, value_name = "ID")]
    tenant: Option<TenantId>,
    /// Take it without a seal, on your word that nobody used it while it was copied, after a full check
    #[arg(long)]
    unsealed: bool,
}

pub(crate) fn seal(context: &Context, args: &SealArgs) -> anyhow::Result<Code> {
    let name = known(&args.name)?;
    context.administrate(Missing::Refused, |admin| {
        let seal = admin.seal_app(&name)?;
        let people = format!("{name} is sealed: {} bytes, BLAKE3 {}", seal.size, seal.blake3);
        output::result(context.json, &seal, &people)
    })
}

pub(crate) fn adopt(context: &Context, args: AdoptArgs) -> anyhow::Result<Code> {
    let proof = if args.unsealed { Proof::Word } else { Proof::Seal };
    // Where nothing is, there is the platform's tenant only, and a refusal leaves nothing behind.
    let missing = match &args.tenant {
        Some(tenant) if *tenant != TenantId::platform() => Missing::Refused,
        _ => Missing::Created,
    };
    if missing == Missing::Created && context.server()?.is_none() {
        match boot::survey(&context.config()) {
            Ok(None) => Hub::survey_adoption(&args.dir, proof)?,
            // Whoever has it looks for itself.
            Ok(Some(_)) | Err(HubError::InUse { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let adoption = Adoption { tenant: args.tenant, proof };
    context.administrate(missing, |admin| {
        let adopted = admin.adopt_app(&args.dir, &adoption)?;
        output::result(context.json, &adopted, &Report(&adopted))
    })
}

struct Report<'a>(&'a Adopted);

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Adopted { app, tenant_created, sealed } = self.0;
        let proof = if *sealed { "its seal holds" } else { "without a seal, after a full check" };
        write!(f, "{} is adopted by tenant {}: {proof}", app.name, app.tenant_id)?;
        if *tenant_created {
            write!(f, "\ntenant {} was not known and was made with default quotas", app.tenant_id)?;
        }
        Ok(())
    }
}
