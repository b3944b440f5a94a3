//! The addresses from which a token may be used.
//!
//! A list that cannot be read allows nobody: a damaged restriction is still a restriction.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Addresses and networks of IPv4 and IPv6; without any list, everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Option<Vec<String>>", into = "Option<Vec<String>>")]
pub struct AllowList(Option<Vec<IpNet>>);

/// A text is neither an address nor a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is neither an IP address nor a network such as 10.0.0.0/8 or 2001:db8::/32")]
pub struct BadNetwork {
    /// The text, shortened where it is long.
    pub text: String,
}

impl AllowList {
    /// Everybody.
    pub const EVERYBODY: Self = Self(None);

    /// Nobody.
    pub const NOBODY: Self = Self(Some(Vec::new()));

    /// How many addresses and networks a list has at most that is to be kept: each request with such a token looks
    /// through it, and each list of tokens shows it.
    pub const MOST: usize = 256;

    /// Those whose address is one of these, or in one of these networks.
    pub fn only<S: AsRef<str>>(networks: &[S]) -> Result<Self, BadNetwork> {
        networks.iter().map(|text| network(text.as_ref())).collect::<Result<_, _>>().map(Some).map(Self)
    }

    /// As a registry holds it: a JSON list of texts, or nothing.
    pub(crate) fn from_registry(json: Option<&str>) -> Self {
        let Some(json) = json else { return Self::EVERYBODY };
        serde_json::from_str(json).unwrap_or(Self(Some(Vec::new())))
    }

    /// As a registry holds it.
    pub(crate) fn to_registry(&self) -> Option<String> {
        self.texts().map(|texts| serde_json::Value::from(texts).to_string())
    }

    /// Whether this address may; one that is not known may only where everybody may.
    pub fn permits(&self, address: Option<IpAddr>) -> bool {
        let Some(networks) = &self.0 else { return true };
        // An IPv4 client of a socket that serves both comes as `::ffff:a.b.c.d`.
        address.is_some_and(|address| networks.iter().any(|net| net.contains(&address.to_canonical())))
    }

    /// How many addresses and networks it has; none where there is no list.
    pub fn entries(&self) -> usize {
        self.0.as_ref().map_or(0, Vec::len)
    }

    fn texts(&self) -> Option<Vec<String>> {
        let networks = self.0.as_ref()?;
        Some(networks.iter().map(ToString::to_string).collect())
    }
}

/// An address or a network; those of IPv4 that are written as IPv6 are taken for what they are.
pub(crate) fn network(text: &str) -> Result<IpNet, BadNetwork> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    let net: IpNet = text
        .parse()
        .or_else(|_| address())
        .map_err(|_| BadNetwork { text: text.chars().take(64).collect() })?;
    let mapped = match (net.addr().to_canonical(), net.prefix_len().checked_sub(96)) {
        (IpAddr::V4(address), Some(bits)) if net.addr().is_ipv6() => Ipv4Net::new(address, bits).ok(),
        _ => None,
    };
    Ok(mapped.map_or(net, IpNet::from))
}

impl TryFrom<Option<Vec<String>>> for AllowList {
    type Error = BadNetwork;

    fn try_from(networks: Option<Vec<String>>) -> Result<Self, BadNetwork> {
        networks.map_or(Ok(Self::EVERYBODY), |networks| Self::only(&networks))
    }
}

impl From<AllowList> for Option<Vec<String>> {
    fn from(list: AllowList) -> Self {
        list.texts()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(list: &AllowList, address: &str) -> bool {
        list.permits(Some(address.parse().unwrap()))
    }

    #[test]
    fn addresses_and_networks_of_both_kinds() {
        let list = AllowList::only(&["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::1"]).unwrap();
        for inside in ["10.255.0.1", "192.0.2.7", "2001:db8:1::2", "::1", "::ffff:10.1.2.3"] {
            assert!(permits(&list, inside), "{inside}");
        }
        let mapped = AllowList::only(&["::ffff:10.0.0.0/104", "::ffff:192.0.2.7"]).unwrap();
        assert!(permits(&mapped, "10.1.2.3") && permits(&mapped, "::ffff:192.0.2.7"));
        assert!(!permits(&mapped, "11.1.2.3") && !permits(&mapped, "192.0.2.8"));
        for outside in ["11.0.0.1", "192.0.2.8", "2001:db9::1", "::2", "::ffff:11.0.0.1"] {
            assert!(!permits(&list, outside), "{outside}");
        }
        assert!(!list.permits(None));
    }

    #[test]
    fn no_list_permits_everybody() {
        assert!(AllowList::EVERYBODY.permits(None) && permits(&AllowList::EVERYBODY, "::1"));
        assert_eq!(AllowList::from_registry(None), AllowList::EVERYBODY);
        assert_eq!(AllowList::EVERYBODY.to_registry(), None);
    }

    /// S4 of the older system: there, a broken list meant no restriction.
    #[test]
    fn a_broken_list_permits_nobody() {
        for broken in
            ["", "[", "{}", "\"10.0.0.0/8\"", "[1]", "[\"10.0.0.0/8\", \"nonsense\"]", "[]", "[\"0/0\"]"]
        {
            let list = AllowList::from_registry(Some(broken));
            assert!(!permits(&list, "10.0.0.1") && !list.permits(None), "{broken}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused_by_name() {
        for bad in ["", "10.0.0.0/33", "10.0.0", "2001:db8::/129", "example.org", "10.0.0.0/-1", " ::1"] {
            assert_eq!(AllowList::only(&[bad]), Err(BadNetwork { text: bad.to_owned() }));
        }
        assert!(serde_json::from_str::<AllowList>("[\"10.0.0\"]").is_err());
    }

    #[test]
    fn a_list_is_read_as_it_was_written() {
        for networks in [&["10.0.0.0/8", "2001:db8::7"][..], &[]] {
            let list = AllowList::only(networks).unwrap();
            assert_eq!(AllowList::from_registry(list.to_registry().as_deref()), list);
        }
        assert_eq!(serde_json::from_str::<AllowList>("null").unwrap(), AllowList::EVERYBODY);
    }
}
