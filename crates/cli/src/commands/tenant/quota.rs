//! `tenant quota`: what a tenant may have.

use std::fmt;

use streamhub::quotas::{Limit, QuotaChange, Quotas};
use streamhub::{TenantId, TenantUsage};

use crate::context::Context;
use crate::exit::Code;
use crate::output;
use crate::reach::Missing;
use crate::table::Sheet;

/// Show what a tenant may have, or change it
///
/// Limits that are not named stay as they are; -1 means that there is none. What a tenant has above a limit
/// stays and counts, and only more of it is refused. Without any limit this works beside a running server
/// and changes nothing.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  streamhub tenant quota acme --data-dir /srv/media\n  streamhub tenant quota acme --max-apps 10 --max-storage-gb -1"
)]
pub(crate) struct Args {
    /// The tenant's key
    id: String,
    /// Apps, those in the trash not counted
    #[arg(long, value_name = "N", value_parser = limit, allow_negative_numbers = true)]
    max_apps: Option<Limit>,
    /// Streams that are live at the same time
    #[arg(long, value_name = "N", value_parser = limit, allow_negative_numbers = true)]
    max_concurrent_streams: Option<Limit>,
    /// Minutes recorded in a calendar month
    #[arg(long, value_name = "N", value_parser = limit, allow_negative_numbers = true)]
    max_recording_minutes_month: Option<Limit>,
    /// Gigabytes sent in a calendar month
    #[arg(long, value_name = "N", value_parser = limit, allow_negative_numbers = true)]
    max_egress_gb_month: Option<Limit>,
    /// Gigabytes stored
    #[arg(long, value_name = "N", value_parser = limit, allow_negative_numbers = true)]
    max_storage_gb: Option<Limit>,
}

fn limit(text: &str) -> Result<Limit, String> {
    let number: i64 =
        text.parse().map_err(|_| "a whole number of 0 or more, or -1 for no limit".to_owned())?;
    Limit::try_from(number).map_err(|error| error.to_string())
}

pub(crate) fn run(context: &Context, args: Args) -> anyhow::Result<Code> {
    let change = QuotaChange {
        max_apps: args.max_apps,
        max_concurrent_streams: args.max_concurrent_streams,
        max_recording_minutes_month: args.max_recording_minutes_month,
        max_egress_gb_month: args.max_egress_gb_month,
        max_storage_gb: args.max_storage_gb,
    };
    let id = TenantId::from_registry(args.id);
    if change == QuotaChange::default() {
        print(context, &context.look()?.registry()?.quotas(&id)?)?;
        return Ok(Code::Done);
    }
    context.administrate(Missing::Refused, |admin| print(context, &admin.set_quotas(&id, &change)?))
}

fn print(context: &Context, quotas: &Quotas) -> anyhow::Result<()> {
    output::result(context.json, quotas, &Sheet::of(limits(quotas).map(|(name, limit)| (name, shown(limit)))))
}

/// What is limited, for people, in the order of the quotas.
fn limits(quotas: &Quotas) -> [(&'static str, Limit); 5] {
    [
        ("apps", quotas.max_apps),
        ("concurrent streams", quotas.max_concurrent_streams),
        ("recording minutes a month", quotas.max_recording_minutes_month),
        ("egress GB a month", quotas.max_egress_gb_month),
        ("storage GB", quotas.max_storage_gb),
    ]
}

fn shown(limit: Limit) -> String {
    if limit == Limit::NONE { "no limit".to_owned() } else { limit.to_string() }
}

/// What a tenant has, beside what it may have.
pub(crate) struct Table<'a>(pub(crate) &'a TenantUsage);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TenantUsage { tenant_id, plan, quotas, usage, exceeded } = self.0;
        let gigabytes = |bytes: u64| format!("{}.{:03}", bytes / 1_000_000_000, bytes / 1_000_000 % 1000);
        let used = [
            (usage.apps.to_string(), exceeded.apps),
            (usage.concurrent_streams.to_string(), exceeded.concurrent_streams),
            (usage.recording_minutes_month.to_string(), exceeded.recording_minutes_month),
            (gigabytes(usage.egress_bytes_month), exceeded.egress_gb_month),
            (gigabytes(usage.storage_bytes), exceeded.storage_gb),
        ];
        let lines = limits(quotas).into_iter().zip(used).map(|((name, limit), (used, exceeded))| {
            let too_much = if exceeded { ", exceeded" } else { "" };
            (name, format!("{used} of {}{too_much}", shown(limit)))
        });
        write!(
            f,
            "{}",
            Sheet::of([("tenant", tenant_id.to_string()), ("plan", plan.clone())].into_iter().chain(lines))
        )
    }
}
