//! The URL rules: an accepted URL never leads to a refused address, by any spelling, and is the
//! same URL to every parser.
//!
//! The judges are not the code that is judged: the C library's reading of addresses (`0x7f.1`,
//! `2130706433`), the `http` crate's reading of URLs, and a table of IANA's special-purpose
//! registries. The input is tried as a URL and as a host.
#![no_main]

use std::ffi::CString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use application_webhooks::model::endpoint_url::EndpointUrl;
use libfuzzer_sys::fuzz_target;
use url::Url;

fuzz_target!(|text: &str| {
    check(text);
    check(&format!("https://{text}/hooks"));
    check(&format!("https://[{text}]:8443/"));
});

fn check(text: &str) {
    let Ok(url) = EndpointUrl::parse(text, false) else {
        return;
    };
    assert_eq!(url.as_str(), text);
    assert_eq!(
        EndpointUrl::parse(text, true).as_ref(),
        Ok(&url),
        "stricter where more is allowed"
    );
    // Escaped, a URL can be longer than what is accepted.
    if url.normalized().len() <= EndpointUrl::MAX_LENGTH {
        let normalized = EndpointUrl::parse(url.normalized(), false).expect("its own normal form");
        assert_eq!(normalized.normalized(), url.normalized());
    }
    let normalized = Url::parse(url.normalized()).expect("a normal form that is a URL");
    assert_eq!(normalized.as_str(), url.normalized());

    let parsed = Url::parse(text).expect("a URL");
    assert_eq!(parsed.scheme(), "https");
    assert!(parsed.username().is_empty() && parsed.password().is_none());
    assert_eq!(parsed.fragment(), None);
    let host = parsed.host_str().expect("a host");
    for spelling in [text, url.normalized()] {
        // It knows no URLs with other than ASCII characters, which Url escapes.
        if let Ok(uri) = spelling.parse::<http::Uri>() {
            let other = uri.host().expect("a host");
            same_host(other, host);
            assert_eq!(uri.port_u16().unwrap_or(443), parsed.port().unwrap_or(443));
        }
    }
    let uri: http::Uri = url
        .normalized()
        .parse()
        .expect("what deliveries connect to");
    for host in [
        host,
        uri.host().expect("a host"),
        host.trim_end_matches('.'),
    ] {
        if let Some(address) = numeric(host.trim_start_matches('[').trim_end_matches(']')) {
            assert!(!is_special(address), "{text} leads to {address}");
        }
    }
    assert!(!host.starts_with('[') && !host.ends_with('.'), "{text}");
    let lower = host.to_ascii_lowercase();
    let name = lower.trim_end_matches('.');
    let top = name.rsplit('.').next();
    assert!(
        ![
            "alt",
            "arpa",
            "corp",
            "example",
            "home",
            "internal",
            "intranet",
            "invalid",
            "lan",
            "local",
            "localdomain",
            "localhost",
            "onion",
            "private",
            "svc",
            "test"
        ]
        .map(Some)
        .contains(&top)
    );
    assert!(name.contains(['.', ':']), "a single label");
}

fn same_host(one: &str, other: &str) {
    let bare = |host: &str| {
        host.trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned()
    };
    match (bare(one).parse::<IpAddr>(), bare(other).parse::<IpAddr>()) {
        (Ok(one), Ok(other)) => assert_eq!(one, other),
        _ => assert!(
            one.eq_ignore_ascii_case(other),
            "{one} is {other} to another parser"
        ),
    }
}

/// The address that `host` is to getaddrinfo(3) without a look into the DNS.
fn numeric(host: &str) -> Option<IpAddr> {
    let host = CString::new(host).ok()?;
    // SAFETY: plain data, for which zeros are the documented "no wish".
    let mut hints: libc::addrinfo = unsafe { std::mem::zeroed() };
    hints.ai_flags = libc::AI_NUMERICHOST;
    let mut found = std::ptr::null_mut();
    // SAFETY: the arguments live until it returns, and a null service is allowed.
    let error = unsafe { libc::getaddrinfo(host.as_ptr(), std::ptr::null(), &hints, &mut found) };
    if error != 0 {
        return None;
    }
    // SAFETY: on success it is a list of at least one entry, whose address is of its family's type.
    let address = unsafe {
        match (*found).ai_family {
            libc::AF_INET => {
                let address = &*(*found).ai_addr.cast::<libc::sockaddr_in>();
                IpAddr::V4(Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr)))
            }
            libc::AF_INET6 => {
                let address = &*(*found).ai_addr.cast::<libc::sockaddr_in6>();
                IpAddr::V6(Ipv6Addr::from(address.sin6_addr.s6_addr))
            }
            family => panic!("family {family}"),
        }
    };
    // SAFETY: it came from getaddrinfo, and nothing points into it any more.
    unsafe { libc::freeaddrinfo(found) };
    Some(address)
}

/// What is not globally reachable by <https://www.iana.org/assignments/iana-ipv4-special-registry>
/// and its IPv6 twin, what is multicast, and the metadata services of the clouds.
fn is_special(address: IpAddr) -> bool {
    const V4: [(&str, u32); 18] = [
        ("0.0.0.0", 8),
        ("10.0.0.0", 8),
        ("100.64.0.0", 10),
        ("127.0.0.0", 8),
        ("168.63.129.16", 32),
        ("169.254.0.0", 16),
        ("172.16.0.0", 12),
        ("192.0.0.0", 24),
        ("192.0.2.0", 24),
        ("192.88.99.0", 24),
        ("192.168.0.0", 16),
        ("198.18.0.0", 15),
        ("198.51.100.0", 24),
        ("203.0.113.0", 24),
        ("224.0.0.0", 4),
        ("240.0.0.0", 4),
        ("255.255.255.255", 32),
        ("100.100.100.200", 32),
    ];
    const V6: [(&str, u32); 15] = [
        ("::", 8),
        ("64:ff9b::", 96),
        ("64:ff9b:1::", 48),
        ("100::", 64),
        ("2001::", 32),
        ("2001:2::", 48),
        ("2001:10::", 28),
        ("2001:20::", 28),
        ("2001:db8::", 32),
        ("2002::", 16),
        ("3fff::", 20),
        ("5f00::", 16),
        ("fc00::", 7),
        ("fe80::", 9),
        ("ff00::", 8),
    ];
    match address {
        IpAddr::V4(address) => V4.iter().any(|(network, length)| {
            let network: Ipv4Addr = network.parse().expect("an address");
            (address.to_bits() ^ network.to_bits()) >> (32 - length) == 0
        }),
        IpAddr::V6(address) => V6.iter().any(|(network, length)| {
            let network: Ipv6Addr = network.parse().expect("an address");
            (address.to_bits() ^ network.to_bits()) >> (128 - length) == 0
        }),
    }
}
