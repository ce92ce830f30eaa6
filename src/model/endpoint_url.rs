//! Which URLs a webhook may have: the rules that keep a merchant from making us
//! call into somebody's private network (server-side request forgery).
//!
//! The rules judge what the WHATWG URL standard makes of the text, so that every
//! spelling of an address is seen as the address it is, and first refuse what
//! parsers are known to read in different ways.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Serialize, Serializer};
use url::{Host, Url};

/// A URL that deliveries can go to. Keeps the merchant's spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointUrl {
    spelling: String,
    /// What the URL standard makes of it: what was judged is what is connected to.
    normalized: String,
}

/// Why a URL is refused, in words for the merchant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UrlError(&'static str);

impl std::fmt::Display for UrlError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl EndpointUrl {
    /// Longest URL, in characters.
    pub const MAX_LENGTH: usize = 2048;

    /// Checks `text` against the rules; with `allow_insecure` also http and private hosts pass.
    ///
    /// # Errors
    ///
    /// The first rule that it breaks.
    pub fn parse(text: &str, allow_insecure: bool) -> Result<Self, UrlError> {
        if text.is_empty() {
            return Err(UrlError("Must not be empty"));
        }
        if text.chars().count() > Self::MAX_LENGTH {
            return Err(UrlError("Must be at most 2048 characters long"));
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(UrlError(
                "Must not contain white space or control characters",
            ));
        }
        let authority = authority(text, allow_insecure)?;
        if text.contains('\\') {
            return Err(UrlError("Must not contain a backslash"));
        }
        if text.contains('#') {
            return Err(UrlError("Must not contain a fragment"));
        }
        if authority.contains('@') {
            return Err(UrlError("Must not contain a user name or password"));
        }
        if authority.contains('%') {
            return Err(UrlError("The host must not be percent-encoded"));
        }
        if !authority.is_ascii() {
            return Err(UrlError(
                "The host must be ASCII: write an international name in its xn-- form",
            ));
        }
        let url = Url::parse(text).map_err(|_| UrlError("Must be a valid absolute URL"))?;
        if url.port() == Some(0) {
            return Err(UrlError("The port must be from 1 to 65535"));
        }
        let host = url.host().ok_or(UrlError("Must have a host"))?;
        // `0177.0.0.1`, `0x7f.1` and `2130706433` are one address to some parsers, and another or
        // none to others.
        if let Host::Ipv4(address) = host
            && authority.split(':').next() != Some(&address.to_string())
        {
            return Err(UrlError(
                "An IPv4 address must be written as four decimal numbers",
            ));
        }
        if !allow_insecure {
            check_public(&host)?;
        }
        Ok(Self {
            spelling: text.to_owned(),
            normalized: url.into(),
        })
    }

    /// The URL as the merchant sent it.
    pub fn as_str(&self) -> &str {
        &self.spelling
    }

    /// The URL as the URL standard writes it, for connecting.
    pub fn normalized(&self) -> &str {
        &self.normalized
    }
}

impl Serialize for EndpointUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.spelling)
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for EndpointUrl {}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for EndpointUrl {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};

        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Uri)))
            .max_length(Some(Self::MAX_LENGTH))
            .pattern(Some(r"^[Hh][Tt][Tt][Pp][Ss]://[^\s#\\]+$"))
            .description(Some(
                "An absolute HTTPS URL of at most 2,048 characters, without user name, password, \
                 fragment, white space or control characters. Its host is a public DNS name (an \
                 international one in its `xn--` form) or a global IP address; an IPv4 address is \
                 written as four decimal numbers.",
            ))
            .examples(["https://merchant.example.com/hooks/kadosei"])
            .into()
    }
}

/// The text between the scheme's `//` and the path, as sent.
fn authority(text: &str, allow_insecure: bool) -> Result<&str, UrlError> {
    let wrong_scheme = if allow_insecure {
        UrlError("Must be an absolute URL that starts with https:// or http://")
    } else {
        UrlError("Must be an absolute URL that starts with https://")
    };
    let (scheme, rest) = text.split_once("://").ok_or(wrong_scheme)?;
    let accepted = scheme.eq_ignore_ascii_case("https")
        || (allow_insecure && scheme.eq_ignore_ascii_case("http"));
    if !accepted {
        return Err(wrong_scheme);
    }
    let end = rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len());
    if end == 0 {
        // `https:///host`: browsers skip the third slash, others see no host.
        return Err(UrlError("Must have a host"));
    }
    Ok(&rest[..end])
}

fn check_public(host: &Host<&str>) -> Result<(), UrlError> {
    match host {
        Host::Ipv4(address) if is_global_v4(*address) => Ok(()),
        Host::Ipv6(address) if is_global_v6(*address) => Ok(()),
        Host::Ipv4(_) | Host::Ipv6(_) => Err(UrlError(
            "The host must not be a private or reserved IP address",
        )),
        Host::Domain(name) if is_public_name(name) => Ok(()),
        Host::Domain(_) => Err(UrlError("The host must be a public DNS name")),
    }
}

/// Names that never lead to the public internet: RFC 6761, RFC 6762, RFC 7686, RFC 8375 and
/// ICANN's reservation of `.internal`.
const PRIVATE_SUFFIXES: [&str; 8] = [
    "localhost",
    "local",
    "internal",
    "home.arpa",
    "test",
    "invalid",
    "example",
    "onion",
];

/// `name` is lower-case ASCII, as the URL parser leaves it.
fn is_public_name(name: &str) -> bool {
    let labels: Vec<&str> = name.split('.').collect();
    let private = PRIVATE_SUFFIXES.iter().any(|suffix| {
        name.strip_suffix(suffix)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    });
    // RFC 1035 §2.3.4: 253 characters in text form, 63 in a label.
    name.len() <= 253
        && labels.len() >= 2
        && labels.iter().all(|label| is_label(label))
        && labels.last().is_some_and(|top| is_top_level(top))
        && !private
}

/// RFC 1123 §2.1, and the underscore that real hosts use.
fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// RFC 3696 §2: a top-level domain is never all digits; all of today's start with a letter.
fn is_top_level(label: &str) -> bool {
    label.len() >= 2 && label.starts_with(|c: char| c.is_ascii_lowercase())
}

/// Whether an IPv4 address is one of the public internet: not in IANA's special-purpose
/// registry (RFC 6890), not multicast, not reserved, and no cloud's metadata service.
pub fn is_global_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let this_network = a == 0; // RFC 791 §3.2
    let private = address.is_private(); // RFC 1918
    let carrier_grade_nat = a == 100 && (64..128).contains(&b); // RFC 6598
    let protocol_assignments = (a, b, c) == (192, 0, 0); // RFC 6890 §2.1
    let relay_anycast = (a, b, c) == (192, 88, 99); // RFC 7526
    let benchmarking = a == 198 && (b == 18 || b == 19); // RFC 2544
    let reserved = a >= 240; // RFC 1112 §4, with the broadcast address
    // Azure's platform service has a public address. The other clouds' are link-local
    // (169.254.169.254), shared (100.100.100.200) or assigned (192.0.0.192).
    let metadata = address == Ipv4Addr::new(168, 63, 129, 16);
    !(this_network
        || private
        || carrier_grade_nat
        || address.is_loopback()
        || address.is_link_local() // RFC 3927
        || protocol_assignments
        || address.is_documentation() // RFC 5737
        || relay_anycast
        || benchmarking
        || address.is_multicast() // RFC 5771
        || reserved
        || metadata)
}

/// Whether an IPv6 address is one of the public internet: global unicast (RFC 4291 §2.5.4),
/// outside IANA's special-purpose registry, and not a wrapping of an IPv4 address.
pub fn is_global_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    // Only 2000::/3 is assigned. That leaves out ::, ::1, IPv4-mapped and -compatible
    // addresses, NAT64's 64:ff9b::/96, unique local, link-local and multicast ones.
    let global_unicast = segments[0] & 0xe000 == 0x2000;
    let protocol_assignments = segments[0] == 0x2001 && segments[1] < 0x0200; // RFC 2928: Teredo, ORCHID, benchmarking …
    let documentation = (segments[0], segments[1]) == (0x2001, 0x0db8) // RFC 3849
        || (segments[0] == 0x3fff && segments[1] < 0x1000); // RFC 9637
    let six_to_four = segments[0] == 0x2002; // RFC 3056
    let isatap = segments[4] & !0x0200 == 0 && segments[5] == 0x5efe; // RFC 5214 §6.1
    global_unicast && !(protocol_assignments || documentation || six_to_four || isatap)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted_urls_keep_their_spelling() {
        for text in [
            "https://merchant.example.com/hooks/kadosei",
            "HTTPS://Merchant.Example.COM:8443/a?b=c%20d",
            "https://1.1.1.1/",
            "https://[2606:4700:4700::1111]/",
        ] {
            assert_eq!(EndpointUrl::parse(text, false).unwrap().as_str(), text);
        }
    }

    #[test]
    fn insecure_urls_pass_only_where_the_operator_allows_them() {
        for text in [
            "http://merchant.example.com/",
            "https://localhost:8443/",
            "http://127.0.0.1:9000/hook",
            "https://10.0.0.1/",
        ] {
            assert!(EndpointUrl::parse(text, false).is_err(), "{text}");
            assert!(EndpointUrl::parse(text, true).is_ok(), "{text}");
        }
        for text in [
            "ftp://localhost/",
            "http://a@localhost/",
            "http://localhost/#f",
        ] {
            assert!(EndpointUrl::parse(text, true).is_err(), "{text}");
        }
    }
}
