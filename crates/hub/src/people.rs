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

use streamhub_engine::text::{self, BadText};

use crate::error::{HubError, Result};

/// A name for people, where one is given. A refusal names the field as the HTTP API spells it.
pub(crate) fn check_name(field: &str, name: Option<&String>) -> Result<()> {
    name.map_or(Ok(()), |name| text::name(name)).map_err(|bad| unfit(field, bad))
}

/// Any other text of so many bytes at the most, where one is given.
pub(crate) fn check_text(field: &str, text: Option<&String>, most: usize) -> Result<()> {
    text.map_or(Ok(()), |text| text::within(text, most)).map_err(|bad| unfit(field, bad))
}

fn unfit(field: &str, bad: BadText) -> HubError {
    HubError::Invalid(format!("{field}: {bad}"))
}
