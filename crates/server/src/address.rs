//! Where a request comes from.
//!
//! That is the socket's peer, unless the peer is a proxy that is trusted: then `X-Forwarded-For` says it, read
//! from the right, where the nearest proxy wrote. What anybody else says of the way that a request took makes the
//! address unknown, and whoever asks for an address then fails closed. Of a trusted proxy only `X-Forwarded-For`
//! is understood: one that sends `Forwarded` or `X-Real-IP` instead leaves its clients unknown.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::{Extensions, HeaderMap, HeaderName};
use streamhub::allow_list::AllowList;

/// Where a request comes from. In the extensions of every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientAddress {
    /// The other end of the connection; none where another server's listener does not say.
    pub(crate) peer: Option<IpAddr>,
    /// Who asks; none where that cannot be known.
    pub(crate) client: Option<IpAddr>,
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Headers in which proxies write for whom they ask, or that they do,
/// beside all that begin with `x-forwarded-`.
const FORWARDING: [HeaderName; 9] = [
    HeaderName::from_static("forwarded"),
    HeaderName::from_static("via"),
    HeaderName::from_static("x-original-forwarded-for"),
    HeaderName::from_static("x-cluster-client-ip"),
    HeaderName::from_static("fly-client-ip"),
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("x-client-ip"),
    HeaderName::from_static("cf-connecting-ip"),
    HeaderName::from_static("true-client-ip"),
];

impl ClientAddress {
    /// Finds it from what the listener and the headers say. The listener's word is axum's [`ConnectInfo`].
    pub(crate) fn find(extensions: &Extensions, headers: &HeaderMap, trusted: &AllowList) -> Self {
        let peer = extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_canonical());
        let client = peer.and_then(|peer| client(peer, headers, trusted));
        Self { peer, client }
    }

    /// Whose share of what all requests have together this one has: the client's, and where that is not known the
    /// peer's. None where nobody but a trusted proxy is known, who asks for many.
    pub(crate) fn sharer(&self, trusted: &AllowList) -> Option<IpAddr> {
        self.client.or(self.peer).filter(|address| !trusted.permits(Some(*address))).map(household)
    }

    /// Whether the client is known to be on this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        self.client.is_some_and(|client| client.is_loopback())
    }
}

/// Whose address it is: who has one of IPv6 has the whole network of 64 bits.
pub(crate) fn household(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::from((v6.to_bits() & (u128::MAX << 64)).to_be_bytes()),
    }
}

/// Whether anybody says that the request was passed on.
pub(crate) fn is_forwarded(headers: &HeaderMap) -> bool {
    let is_forwarding =
        |name: &HeaderName| FORWARDING.contains(name) || name.as_str().starts_with("x-forwarded-");
    headers.keys().any(is_forwarding)
}

fn client(peer: IpAddr, headers: &HeaderMap, trusted: &AllowList) -> Option<IpAddr> {
    if !is_forwarded(headers) {
        return Some(peer);
    }
    if !trusted.permits(Some(peer)) {
        return None;
    }
    let mut nearest = None;
    for line in headers.get_all(X_FORWARDED_FOR).iter().rev() {
        for hop in line.to_str().ok()?.rsplit(',') {
            let hop = parse(hop.trim())?;
            if !trusted.permits(Some(hop)) {
                return Some(hop);
            }
            nearest = Some(hop);
        }
    }
    nearest
}

/// An address with or without a port, one of IPv6 with or without brackets.
fn parse(text: &str) -> Option<IpAddr> {
    let plain = || text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().filter(no_scope).map(|address| address.ip());
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::from);
    plain().or_else(with_port).or_else(bracketed).map(|address| address.to_canonical())
}

/// A scope means something on the machine that wrote it only.
fn no_scope(address: &SocketAddr) -> bool {
    matches!(address, SocketAddr::V4(_)) || matches!(address, SocketAddr::V6(v6) if v6.scope_id() == 0)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const PROXIES: &[&str] = &["10.0.0.0/8", "2001:db8:a::/48", "127.0.0.1"];

    fn found(peer: &str, headers: &[(&str, &str)]) -> ClientAddress {
        let mut extensions = Extensions::new();
        if !peer.is_empty() {
            extensions.insert(ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 1)));
        }
        let pairs = headers.iter().map(|(name, value)| {
            (name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
        });
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(name, value);
        }
        ClientAddress::find(&extensions, &map, &AllowList::only(PROXIES).unwrap())
    }

    fn client(peer: &str, headers: &[(&str, &str)]) -> Option<String> {
        found(peer, headers).client.map(|address| address.to_string())
    }

    fn forwarded(text: &str) -> Option<String> {
        client("10.0.0.1", &[("x-forwarded-for", text)])
    }

    /// S3 of the older system: there, the leftmost address was believed from anyone.
    #[test]
    fn nobody_but_a_trusted_proxy_says_who_asks() {
        assert_eq!(client("192.0.2.9", &[]).as_deref(), Some("192.0.2.9"));
        for name in FORWARDING {
            assert_eq!(client("192.0.2.9", &[(name.as_str(), "127.0.0.1")]), None, "{name}");
            assert_eq!(client("192.0.2.9", &[(name.as_str(), "")]), None, "{name}");
        }
        let spoofed = found("192.0.2.9", &[("X-Forwarded-For", "127.0.0.1")]);
        assert!(!spoofed.is_loopback() && spoofed.peer == Some("192.0.2.9".parse().unwrap()));
        assert!(found("::ffff:127.0.0.1", &[]).is_loopback() && found("::1", &[]).is_loopback());
    }

    #[test]
    fn a_trusted_proxy_is_read_from_the_right() {
        assert_eq!(client("10.0.0.1", &[]).as_deref(), Some("10.0.0.1"), "the proxy itself asks");
        for (text, expected) in [
            ("198.51.100.1", "198.51.100.1"),
            ("127.0.0.1, 198.51.100.1", "198.51.100.1"),
            ("1.1.1.1, 198.51.100.1,10.2.3.4 ,\t10.0.0.9", "198.51.100.1"),
            ("nonsense, 198.51.100.1", "198.51.100.1"),
            ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
            ("198.51.100.1:4711", "198.51.100.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443, 2001:db8:a::2", "2001:db8::1"),
            ("::ffff:198.51.100.1", "198.51.100.1"),
            ("198.51.100.1, ::ffff:10.0.0.2, [::ffff:10.0.0.2]:80", "198.51.100.1"),
        ] {
            assert_eq!(forwarded(text).as_deref(), Some(expected), "{text}");
        }
        let lines =
            [("x-forwarded-for", "1.1.1.1"), ("via", "x"), ("x-forwarded-for", "198.51.100.1, 10.0.0.2")];
        assert_eq!(client("::ffff:10.0.0.1", &lines).as_deref(), Some("198.51.100.1"), "all lines, in order");
    }

    #[test]
    fn what_cannot_be_read_on_the_way_makes_it_unknown() {
        for text in [
            "",
            " ",
            ",",
            "198.51.100.1,",
            "198.51.100.1, ,10.0.0.2",
            "198.51.100.1, unknown",
            "example.org",
            "198.51.100.1:",
            "198.51.100.1:99999",
            "198.51.100.256",
            "198.051.100.1",
            "fe80::1%eth0",
            "[fe80::1%3]:80",
            "[2001:db8::1",
            "2001:db8::1]",
            "[198.51.100.1]",
            "\"198.51.100.1\"",
            "198.51.100.1\u{a0}",
        ] {
            assert_eq!(forwarded(text), None, "{text:?}");
        }
        for name in ["forwarded", "x-real-ip", "cf-connecting-ip"] {
            assert_eq!(client("10.0.0.1", &[(name, "198.51.100.1")]), None, "{name} is not understood");
        }
    }

    #[test]
    fn a_listener_that_does_not_say_leaves_everybody_unknown() {
        assert_eq!(found("", &[]), ClientAddress { peer: None, client: None });
        assert_eq!(client("", &[("x-forwarded-for", "198.51.100.1")]), None);
    }

    #[test]
    fn everybody_but_a_proxy_has_a_share() {
        let trusted = AllowList::only(PROXIES).unwrap();
        let sharer = |peer, forwarded: &[(&str, &str)]| {
            found(peer, forwarded).sharer(&trusted).map(|address| address.to_string())
        };
        assert_eq!(sharer("192.0.2.9", &[]).as_deref(), Some("192.0.2.9"));
        assert_eq!(sharer("192.0.2.9", &[("via", "x")]).as_deref(), Some("192.0.2.9"));
        assert_eq!(sharer("2001:db8::1:2", &[]).as_deref(), Some("2001:db8::"));
        assert_eq!(sharer("10.0.0.1", &[("x-forwarded-for", "192.0.2.9")]).as_deref(), Some("192.0.2.9"));
        for (peer, forwarded) in [("10.0.0.1", &[][..]), ("10.0.0.1", &[("via", "x")]), ("", &[])] {
            assert_eq!(sharer(peer, forwarded), None);
        }
    }

    fn an_address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)]
    }

    proptest! {
        /// Whatever a client writes stands to the left of what the proxies wrote, and changes nothing.
        #[test]
        fn a_client_cannot_choose_its_address(
            lies in "[ -~]{0,60}",
            own in an_address(),
            port in proptest::option::of(any::<u16>()),
            hops in proptest::collection::vec(0_u8..=255, 0..4),
        ) {
            let own = own.to_canonical();
            let trusted = AllowList::only(PROXIES).unwrap();
            prop_assume!(!trusted.permits(Some(own)));
            let said = port.map_or_else(|| own.to_string(), |port| SocketAddr::new(own, port).to_string());
            let chain = hops.iter().map(|hop| format!("10.0.0.{hop}"));
            let text = [lies, said].into_iter().chain(chain).collect::<Vec<_>>().join(", ");
            prop_assert_eq!(forwarded(&text), Some(own.to_string()), "{}", text);
        }

        /// From anyone else no text makes an address known, and none panics.
        #[test]
        fn no_text_is_believed_from_a_stranger(text in "[ -~\t]{0,80}", from in an_address()) {
            let trusted = AllowList::only(PROXIES).unwrap();
            prop_assume!(!trusted.permits(Some(from)));
            prop_assert_eq!(client(&from.to_string(), &[("x-forwarded-for", text.trim())]), None);
            let _ = forwarded(text.trim());
        }

        /// Each way of writing an address is read as that address.
        #[test]
        fn every_spelling_is_one_address(address in an_address(), port in any::<u16>()) {
            let mut spellings = vec![address.to_string(), SocketAddr::new(address, port).to_string()];
            match address {
                IpAddr::V4(v4) => spellings.push(format!("::ffff:{v4}")),
                IpAddr::V6(v6) => spellings.push(format!("[{v6}]")),
            }
            for spelling in spellings {
                prop_assert_eq!(parse(&spelling), Some(address.to_canonical()), "{}", spelling);
            }
        }
    }
}
