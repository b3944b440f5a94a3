//! Nodes of a cluster.

use serde_json::Value;
use streamhub_control::nodes::{self, NameTaken, NewNode, Node, NodeStatus, NotRecorded};
use streamhub_control::{Connection, SqlResult};
use streamhub_engine::text::{ADDRESS_MAX, NAME_MAX};

use crate::acting::Deed;
use crate::error::{HubError, Result};
use crate::hub::Hub;
use crate::people::{check_name, check_text};

const NODE: &str = "node";

impl Hub {
    /// Makes a node that has not been heard of yet.
    pub fn create_node(&self, new: &NewNode) -> Result<Node> {
        let new = acceptable(new)?;
        self.change(Deed::of("node.create"), move |db, deed| match nodes::create(db, &new)? {
            Ok(id) => {
                deed.aim(&id);
                found(db, &id)
            }
            Err(refused) => Ok(Err(refused.into())),
        })
    }

    /// Takes a node into the cluster, or back: one of this name keeps its key and its status. Returns its key.
    pub fn join_node(&self, new: &NewNode) -> Result<String> {
        let new = acceptable(new)?;
        self.change(Deed::of("node.join"), move |db, deed| {
            let id = nodes::join(db, &new)?;
            deed.aim(&id);
            Ok(Ok::<_, HubError>(id))
        })
    }

    /// Records a node's sign of life. A node that drains or is disabled stays so, and what it said of itself before stays
    /// where it says nothing. The audit does not tell of it.
    pub fn node_alive(&self, id: &str, stats: Option<&Value>) -> Result<()> {
        let (id, stats) = (id.to_owned(), stats.cloned());
        Ok(self.note_down(move |db| nodes::heartbeat(db, &id, stats.as_ref()))??)
    }

    /// Says what the node of this key or name is meant to do.
    pub fn set_node_status(&self, which: &str, status: NodeStatus) -> Result<Node> {
        self.of_node(Deed::of("node.set-status"), which, move |db, node| {
            nodes::set_status(db, &node.id, status)?;
            Ok(Node { status: status.to_string(), ..node })
        })
    }

    /// Removes the node of this key or name, and returns it.
    pub fn delete_node(&self, which: &str) -> Result<Node> {
        self.of_node(Deed::of("node.delete"), which, |db, node| nodes::delete(db, &node.id).map(|_| node))
    }

    fn of_node(
        &self,
        deed: Deed,
        which: &str,
        work: impl Fn(&Connection, Node) -> SqlResult<Node> + Send + 'static,
    ) -> Result<Node> {
        let which = which.to_owned();
        self.change(deed, move |db, deed| match found(db, &which)? {
            Ok(node) => {
                deed.aim(&node.id);
                work(db, node).map(Ok)
            }
            Err(refused) => Ok(Err(refused)),
        })
    }
}

fn acceptable(new: &NewNode) -> Result<NewNode> {
    check_name("name", Some(&new.name))?;
    check_text("region", new.region.as_ref(), NAME_MAX)?;
    check_text("url", new.url.as_ref(), ADDRESS_MAX)?;
    // Which schemes there are is up to the media server.
    if let Some(url) = new.url.as_ref().filter(|url| !url.contains("://")) {
        return Err(HubError::Invalid(format!("url: {url:?} is none, such as https://node.example")));
    }
    Ok(new.clone())
}

/// The node of this key or name. An older registry may hold a name twice, and then only keys are clear.
pub(crate) fn found(db: &Connection, which: &str) -> SqlResult<Result<Node>> {
    if let Some(node) = nodes::get(db, which)? {
        return Ok(Ok(node));
    }
    let mut named = nodes::list(db)?;
    named.retain(|node| node.name.as_deref() == Some(which));
    Ok(match (named.pop(), named.is_empty()) {
        (Some(node), true) => Ok(node),
        (Some(_), false) => {
            Err(HubError::Invalid(format!("several nodes are called {which:?}; name one by its key")))
        }
        (None, _) => Err(HubError::NotFound { noun: NODE, name: which.to_owned() }),
    })
}

impl From<NotRecorded> for HubError {
    fn from(refused: NotRecorded) -> Self {
        match refused {
            NotRecorded::UnknownNode { id } => Self::NotFound { noun: NODE, name: id },
            NotRecorded::TooLarge { .. } => Self::Invalid(refused.to_string()),
        }
    }
}

impl From<NameTaken> for HubError {
    fn from(NameTaken { name }: NameTaken) -> Self {
        Self::Exists { noun: NODE, name }
    }
}
