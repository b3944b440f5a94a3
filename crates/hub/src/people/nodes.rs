//! Nodes of a cluster.

use streamhub_control::nodes::{self, NameTaken, NewNode, Node, NodeStatus};
use streamhub_control::{Connection, SqlResult};

use crate::error::{HubError, Result};
use crate::hub::Hub;
use crate::people::refuse_blank;

const NODE: &str = "node";

impl Hub {
    /// Makes a node that has not been heard of yet.
    pub fn create_node(&self, new: &NewNode) -> Result<Node> {
        refuse_blank("a node", &new.name)?;
        // Which schemes there are is up to the media server.
        if let Some(url) = new.url.as_ref().filter(|url| !url.contains("://")) {
            return Err(HubError::Invalid(format!("{url:?} is no URL, such as https://node.example")));
        }
        let new = new.clone();
        self.write(move |db| match nodes::create(db, &new)? {
            Ok(id) => found(db, &id),
            Err(refused) => Ok(Err(refused.into())),
        })?
    }

    /// Says what the node of this key or name is meant to do.
    pub fn set_node_status(&self, which: &str, status: NodeStatus) -> Result<Node> {
        self.of_node(which, move |db, node| {
            nodes::set_status(db, &node.id, status)?;
            Ok(Node { status: status.to_string(), ..node })
        })
    }

    /// Removes the node of this key or name, and returns it.
    pub fn delete_node(&self, which: &str) -> Result<Node> {
        self.of_node(which, |db, node| nodes::delete(db, &node.id).map(|_| node))
    }

    fn of_node(
        &self,
        which: &str,
        work: impl Fn(&Connection, Node) -> SqlResult<Node> + Send + 'static,
    ) -> Result<Node> {
        let which = which.to_owned();
        self.write(move |db| match found(db, &which)? {
            Ok(node) => work(db, node).map(Ok),
            Err(refused) => Ok(Err(refused)),
        })?
    }
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

impl From<NameTaken> for HubError {
    fn from(NameTaken { name }: NameTaken) -> Self {
        Self::Exists { noun: NODE, name }
    }
}
