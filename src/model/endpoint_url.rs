//! Which URLs a webhook may have: the rules that keep a merchant from making us
//! call into somebody's private network (server-side request forgery).
//!
//! The rules judge what the WHATWG URL standard makes of the text, so that every
//! spelling of an address is seen as the address it is, and first refuse what
//! parsers are known to read in different ways.

use serde::{Serialize, Serializer};
use url::{Host, Url};

pub use super::global_address::{NOT_GLOBAL_V4, NOT_GLOBAL_V6};
use super::global_address::{is_global_v4, is_global_v6};

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
        // To the DNS it is the same name, to Spin and to certificates another one.
        if authority
            .split(':')
            .next()
            .is_some_and(|host| host.ends_with('.'))
        {
            return Err(UrlError(
                "The host must not end with a dot: leave the dot out",
            ));
        }
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
        // Spin 4.1 connects, and then takes the address with its brackets for a DNS name.
        if matches!(host, Host::Ipv6(_)) && url.scheme() == "https" {
            return Err(UrlError(
                "An IPv6 address cannot be reached over https: use a DNS name",
            ));
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

impl utoipa::ToSchema for EndpointUrl {}

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
                 international one in its `xn--` form) without a dot at its end, or a global IPv4 \
                 address, written as four decimal numbers.",
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

/// Names that never lead to the public internet.
const PRIVATE_SUFFIXES: [&str; 16] = [
    "alt",     // RFC 9476; to Spin `self.alt` is the service itself
    "arpa",    // RFC 3172: the infrastructure's, with `home.arpa` (RFC 8375)
    "example", // RFC 6761, as the next three
    "invalid",
    "localhost",
    "test",
    "internal", // ICANN's resolution 2024.07.29.06; to Spin `….spin.internal` is a component
    "local",    // RFC 6762
    "onion",    // RFC 7686
    // Conventions: RFC 6762 appendix G, Kubernetes' services, and what resolvers add to a label.
    "corp",
    "home",
    "intranet",
    "lan",
    "private",
    "svc",
    "localdomain",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted_urls_keep_their_spelling() {
        for text in [
            "https://merchant.example.com/hooks/kadosei",
            "HTTPS://Merchant.Example.COM:8443/a?b=c%20d",
            "https://1.1.1.1/",
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

    fn refusal(text: &str, allow_insecure: bool) -> String {
        let refused = EndpointUrl::parse(text, allow_insecure);
        refused.expect_err(text).to_string()
    }

    #[test]
    fn names_that_only_a_runtime_or_a_private_network_knows_are_refused() {
        for host in [
            "self.alt",
            "SELF.ALT",
            "webhooks.spin.internal",
            "1.0.0.127.in-addr.arpa",
            "router.home.arpa",
            "ipv4only.arpa",
            "api.default.svc",
            "nas.lan",
            "printer.home",
            "mail.corp",
            "wiki.intranet",
            "db.private",
            "localhost.localdomain",
        ] {
            let refusal = refusal(&format!("https://{host}/"), false);
            assert_eq!(refusal, "The host must be a public DNS name", "{host}");
        }
        for host in [
            "alt.example.com",
            "home.dev",
            "arpa.net",
            "lan.io",
            "mysvc.org",
        ] {
            let url = format!("https://{host}/");
            assert!(EndpointUrl::parse(&url, false).is_ok(), "{url}");
        }
    }

    #[test]
    fn a_dot_at_the_hosts_end_is_refused_with_the_advice_to_leave_it_out() {
        for text in [
            "https://merchant.example.com./hooks",
            "https://merchant.example.com.:8443/",
            "https://merchant.example.com..",
            "https://1.1.1.1./",
            "https://self.alt./",
        ] {
            for allow_insecure in [false, true] {
                let refusal = refusal(text, allow_insecure);
                assert!(refusal.contains("leave the dot out"), "{text}: {refusal}");
            }
        }
        // Elsewhere it is none of the host's.
        assert!(EndpointUrl::parse("https://example.com/.", false).is_ok());
    }

    #[test]
    fn an_ipv6_address_over_https_is_refused_with_the_reason() {
        for text in [
            "https://[2606:4700:4700::1111]/",
            "https://[2001:4860:4860::8888]:8443/hook",
        ] {
            let refusal = refusal(text, false);
            assert!(refusal.contains("over https"), "{text}: {refusal}");
        }
        // Whatever the operator allows; without TLS it is reached.
        assert!(refusal("https://[::1]:8443/", true).contains("over https"));
        assert!(EndpointUrl::parse("http://[::1]:8080/", true).is_ok());
        // Of a private one the merchant learns that first.
        assert!(refusal("https://[::1]/", false).contains("private"));
    }

    #[test]
    fn addresses_at_the_edges_of_networks_are_judged_as_the_networks_say() {
        for (inside, outside) in [
            ("10.255.255.255", "11.0.0.0"),
            ("100.64.0.0", "100.63.255.255"),
            ("168.63.129.16", "168.63.129.17"),
            ("172.31.255.255", "172.32.0.0"),
            ("192.0.0.255", "192.0.1.0"),
            ("198.19.255.255", "198.20.0.0"),
            ("224.0.0.0", "223.255.255.255"),
        ] {
            assert!(!is_global_v4(inside.parse().unwrap()), "{inside}");
            assert!(is_global_v4(outside.parse().unwrap()), "{outside}");
        }
        for (inside, outside) in [
            ("1fff::", "2000::"),
            ("2001:1ff:ffff::", "2001:200::"),
            ("2001:db8::", "2001:db9::"),
            ("2002::", "2003::"),
            ("3fff:fff::", "3fff:1000::"),
            ("4000::", "3ffe::"),
            ("2606::5efe:a00:1", "2606::a00:1"),
            ("ff0e::1", "2a00::1"),
        ] {
            assert!(!is_global_v6(inside.parse().unwrap()), "{inside}");
            assert!(is_global_v6(outside.parse().unwrap()), "{outside}");
        }
    }
}
