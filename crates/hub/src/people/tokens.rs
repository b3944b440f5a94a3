//! API tokens.

use streamhub_control::allow_list::AllowList;
use streamhub_control::tokens::{self, ApiToken, NewToken, NotCreated, Token};

use crate::acting::Deed;
use crate::error::{HubError, Result};
use crate::hub::Hub;
use crate::people::check_name;

const TOKEN: &str = "token";

impl Hub {
    /// Makes a token and returns its number and, for the only time, the token itself.
    pub fn create_token(&self, new: &NewToken) -> Result<(i64, Token)> {
        check_name("name", Some(&new.name))?;
        if new.allowed_ips == AllowList::NOBODY {
            return Err(HubError::Invalid(
                "a token that no address may use is of no use: name one, or no list".to_owned(),
            ));
        }
        if new.allowed_ips.entries() > AllowList::MOST {
            let (has, most) = (new.allowed_ips.entries(), AllowList::MOST);
            return Err(HubError::Invalid(format!(
                "allowedIps: it has {has} entries, at most {most} are kept"
            )));
        }
        let new = new.clone();
        self.change(Deed::of("token.create").tenant(&new.tenant), move |db, deed| {
            let created = tokens::create(db, &new)?;
            if let Ok((id, _)) = &created {
                deed.aim(id);
            }
            Ok(created)
        })
    }

    /// Revokes a token. One that is revoked already stays so.
    pub fn revoke_token(&self, id: i64) -> Result<ApiToken> {
        self.change(Deed::of("token.revoke").target(&id), move |db, deed| {
            tokens::revoke(db, id)?;
            let revoked = tokens::get(db, id)?;
            if let Some(tenant) = revoked.as_ref().and_then(|token| token.tenant_id.as_ref()) {
                deed.concern(tenant);
            }
            Ok(revoked.ok_or_else(|| HubError::NotFound { noun: TOKEN, name: id.to_string() }))
        })
    }
}

impl From<NotCreated> for HubError {
    fn from(refused: NotCreated) -> Self {
        match refused {
            NotCreated::UnknownTenant(unknown) => unknown.into(),
            NotCreated::UnknownApp { app_id } => Self::UnknownApp { name: app_id.to_string() },
        }
    }
}
