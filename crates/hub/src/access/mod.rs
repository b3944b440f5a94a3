//! Who may: credentials, and what those who show them are permitted.

mod account;
mod addresses;
mod attempts;
mod authenticate;
mod hashing;
mod login;
mod principal;
mod sessions;
mod setup;
#[cfg(test)]
mod tests;

pub use account::{AddressChange, PasswordChange};
pub(crate) use addresses::Addresses;
pub(crate) use authenticate::Credentials;
pub(crate) use hashing::Hashing;
pub use login::{LoggedIn, Login, LoginError};
pub use principal::{Permission, Principal, Who, Within};
pub use setup::SetUp;
