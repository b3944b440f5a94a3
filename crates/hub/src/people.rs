//! Changes to tenants, users, tokens and nodes: what the control database knows besides apps.
//!
//! One file per noun. Each change is one transaction, and what is refused has changed nothing.

mod members;
mod nodes;
mod tenants;
#[cfg(test)]
mod tests;
mod tokens;
mod users;

pub use tenants::TenantChange;

pub(crate) use nodes::found as found_node;
pub(crate) use users::found as found_user;

use crate::error::{HubError, Result};

/// A name for people that shows nothing is none.
pub(crate) fn refuse_blank(what: &str, text: &str) -> Result<()> {
    if text.trim().is_empty() {
        Err(HubError::Invalid(format!("the name of {what} is empty")))
    } else {
        Ok(())
    }
}
