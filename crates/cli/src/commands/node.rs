//! `streamhub node`: the machines of a cluster.

use clap::Subcommand;
use serde::Serialize;
use streamhub::nodes::{NewNode, Node, NodeStatus};
use streamhub::settings::Overrides;

use crate::args::Global;
use crate::context::Context;
use crate::exit::Code;
use crate::output;
use crate::reach::Missing;
use crate::table::{List, Row, Sheet, or_dash};

/// Manage the nodes of a cluster.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  streamhub node create edge-1 --address https://edge-1.example.org --region eu\n  streamhub node status edge-1 draining"
)]
pub(crate) enum Command {
    /// List all nodes, by name
    ///
    /// Works beside a running server and changes nothing.
    #[command(
        after_help = "Examples:\n  streamhub node list --data-dir /srv/media\n  streamhub node list --json | jq '.data[] | select(.stale)'"
    )]
    List,
    /// Make a node that has not been heard of yet
    ///
    /// A data directory that is not there is made.
    #[command(
        after_help = "Example:\n  streamhub node create edge-1 --address https://edge-1.example.org --region eu --data-dir /srv/media"
    )]
    Create {
        /// Its name, by which it is known when it joins
        name: String,
        /// Where it is reached
        #[arg(long, value_name = "URL")]
        address: Option<String>,
        /// Where it stands
        #[arg(long, value_name = "TEXT")]
        region: Option<String>,
    },
    /// Say what a node is meant to do
    #[command(after_help = "Example:\n  streamhub node status edge-1 draining --data-dir /srv/media")]
    Status {
        /// Its name or key
        node: String,
        /// active (take work), draining (finish its work and take no other) or disabled (nothing)
        status: NodeStatus,
    },
    /// Remove a node
    #[command(after_help = "Example:\n  streamhub node delete edge-1 --data-dir /srv/media")]
    Delete {
        /// Its name or key
        node: String,
    },
}

#[derive(Serialize)]
struct Gone {
    deleted: bool,
    id: String,
    name: Option<String>,
}

impl Row for Node {
    const THINGS: &'static str = "nodes";
    const COLUMNS: &'static [&'static str] = &["NAME", "ID", "STATUS", "REGION", "LAST SEEN", "STALE"];

    fn cells(&self) -> Vec<String> {
        vec![
            or_dash(self.name.as_deref()),
            self.id.clone(),
            self.status.clone(),
            or_dash(self.region.as_deref()),
            or_dash(self.last_seen_at.as_deref()),
            if self.stale { "yes" } else { "no" }.to_owned(),
        ]
    }
}

pub(crate) fn run(command: Command, global: &Global) -> anyhow::Result<Code> {
    let context = Context::find(global, Overrides::default())?;
    match command {
        Command::List => {
            let list = List::of(context.look()?.registry()?.nodes()?);
            output::result(context.json, &list, &list)?;
            Ok(Code::Done)
        }
        Command::Create { name, address, region } => context.administrate(Missing::Created, |admin| {
            let node = admin.create_node(&NewNode { name, url: address, region })?;
            output::result(context.json, &node, &sheet(&node))
        }),
        Command::Status { node, status } => context.administrate(Missing::Refused, |admin| {
            let changed = admin.set_node_status(&node, status)?;
            output::result(context.json, &changed, &sheet(&changed))
        }),
        Command::Delete { node } => context.administrate(Missing::Refused, |admin| {
            let Node { id, name, .. } = admin.delete_node(&node)?;
            output::result(context.json, &Gone { deleted: true, id, name }, &format!("{node} is gone"))
        }),
    }
}

fn sheet(node: &Node) -> Sheet {
    Sheet::of([
        ("name", or_dash(node.name.as_deref())),
        ("id", node.id.clone()),
        ("status", node.status.clone()),
        ("url", or_dash(node.url.as_deref())),
        ("region", or_dash(node.region.as_deref())),
        ("last seen", or_dash(node.last_seen_at.as_deref())),
    ])
}
