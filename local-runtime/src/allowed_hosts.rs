//! `allowed_outbound_hosts`, as Spin reads them.

use std::ops::Range;

use anyhow::Context;
use ip_network::IpNetwork;
use url::Host;

/// The entries of one component.
#[derive(Debug, Default)]
pub struct AllowedHosts(Vec<AllowedHost>);

impl AllowedHosts {
    /// Reads the entries, which have their variables filled in.
    ///
    /// # Errors
    ///
    /// One line that names the entry that is malformed.
    pub fn parse(entries: &[String]) -> anyhow::Result<Self> {
        let entries = entries.iter().map(|entry| AllowedHost::parse(entry));
        Ok(Self(entries.collect::<anyhow::Result<_>>()?))
    }

    /// Whether connections to the host are allowed. An IPv6 address has no brackets.
    pub fn allow(&self, scheme: &str, host: &str, port: u16) -> bool {
        self.0
            .iter()
            .any(|allowed| allowed.matches(scheme, host, port))
    }

    /// Whether the application may make requests to itself.
    pub fn allow_self(&self) -> bool {
        self.0.iter().any(AllowedHost::matches_self)
    }

    /// Whether connections to a PostgreSQL server, `host` or `host:port`, are allowed. As on Spin none
    /// is to an IPv6 address, which is no host of a URL without brackets.
    pub fn allows_postgres(&self, server: &str) -> bool {
        const DEFAULT_PORT: u16 = 5432;

        let (host, port) = match server.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok()),
            None => (server, Some(DEFAULT_PORT)),
        };
        let port = port.filter(|_| !host.contains(':'));
        port.is_some_and(|port| self.allow("postgres", host, port))
    }
}

/// One entry: `scheme://host:port`, with `*` for any of each.
#[derive(Debug)]
struct AllowedHost {
    /// `None` is any.
    scheme: Option<String>,
    host: HostPattern,
    /// `None` is any.
    ports: Option<Range<u32>>,
}

#[derive(Debug)]
enum HostPattern {
    Any,
    /// The application.
    Own,
    /// `*.example.com`, as `.example.com`.
    Subdomain(String),
    Literal(Host),
    Network(IpNetwork),
}

impl AllowedHost {
    fn parse(entry: &str) -> anyhow::Result<Self> {
        Self::read(entry.trim()).with_context(|| {
            format!(
                "allowed_outbound_hosts has `{entry}`: entries look like https://example.com or https://*:*"
            )
        })
    }

    fn read(entry: &str) -> anyhow::Result<Self> {
        let (scheme, rest) = entry.split_once("://").context("there is no scheme")?;
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if HostPattern::parse(rest).is_err() => (host, port),
            _ => (rest, ""),
        };
        let port = port.strip_suffix('/').unwrap_or(port);
        let alphabetic = scheme.chars().all(char::is_alphabetic);
        anyhow::ensure!(scheme == "*" || alphabetic, "the scheme is malformed");
        Ok(Self {
            scheme: (scheme != "*").then(|| scheme.to_owned()),
            host: HostPattern::parse(host)?,
            ports: ports(port, scheme)?,
        })
    }

    fn matches(&self, scheme: &str, host: &str, port: u16) -> bool {
        let allowed = self.scheme.as_deref();
        allowed.is_none_or(|allowed| allowed == scheme)
            && self.host.matches(host)
            && self
                .ports
                .as_ref()
                .is_none_or(|ports| ports.contains(&port.into()))
    }

    /// Whether it lets the application make requests to itself.
    fn matches_self(&self) -> bool {
        matches!(self.scheme.as_deref(), None | Some("http" | "https"))
            && matches!(self.host, HostPattern::Any | HostPattern::Own)
    }
}

impl HostPattern {
    fn parse(host: &str) -> anyhow::Result<Self> {
        let host = host.trim();
        if host == "*" {
            return Ok(Self::Any);
        }
        if matches!(host, "self" | "self.alt") {
            return Ok(Self::Own);
        }
        if let Ok(network) = IpNetwork::from_str_truncate(host) {
            return Ok(Self::Network(network));
        }
        let host = host.strip_suffix('/').unwrap_or(host);
        if let Some(domain) = host.strip_prefix("*.") {
            let Host::Domain(domain) = Host::parse(domain)? else {
                anyhow::bail!("an address has no subdomains");
            };
            return Ok(Self::Subdomain(format!(".{domain}")));
        }
        anyhow::ensure!(!host.contains('*'), "only whole subdomains can be `*`");
        Ok(Self::Literal(Host::parse(host)?))
    }

    fn matches(&self, host: &str) -> bool {
        let host = if host.contains(':') {
            Host::parse(&format!("[{host}]"))
        } else {
            Host::parse(host)
        };
        match (self, host) {
            (_, Err(_)) | (Self::Own, _) => false,
            (Self::Any, _) => true,
            (Self::Subdomain(suffix), Ok(Host::Domain(domain))) => domain.ends_with(suffix),
            (Self::Literal(literal), Ok(host)) => host == *literal,
            (Self::Network(IpNetwork::V4(network)), Ok(Host::Ipv4(address))) => {
                network.contains(address)
            }
            (Self::Network(IpNetwork::V6(network)), Ok(Host::Ipv6(address))) => {
                network.contains(address)
            }
            (Self::Subdomain(_) | Self::Network(_), _) => false,
        }
    }
}

/// A port, a range without its end (`8000..9000`), or the scheme's own port.
fn ports(port: &str, scheme: &str) -> anyhow::Result<Option<Range<u32>>> {
    let number = |port: &str| port.parse::<u16>().map(u32::from).context("no such port");
    Ok(match (port, port.split_once("..")) {
        ("*", _) => None,
        ("", _) => {
            let port = well_known_port(scheme).context("there is no port")?;
            Some(port..port + 1)
        }
        (_, Some((first, end))) => Some(number(first)?..number(end)?),
        (port, None) => {
            let port = number(port)?;
            Some(port..port + 1)
        }
    })
}

fn well_known_port(scheme: &str) -> Option<u32> {
    Some(match scheme {
        "postgres" => 5432,
        "mysql" => 3306,
        "redis" => 6379,
        "mqtt" => 1883,
        "http" => 80,
        "https" => 443,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allowed_hosts_match_as_spin_reads_them() {
        let matches = |entry: &str, scheme, host, port| {
            AllowedHost::parse(entry)
                .unwrap()
                .matches(scheme, host, port)
        };
        assert!(matches("https://*:*", "https", "a.example.com", 8443));
        assert!(!matches("https://*:*", "http", "a.example.com", 80));
        assert!(matches("https://example.com", "https", "example.com", 443));
        assert!(!matches(
            "https://example.com",
            "https",
            "example.com",
            8443
        ));
        assert!(matches(
            "http://*.example.com:80",
            "http",
            "a.example.com",
            80
        ));
        assert!(!matches(
            "http://*.example.com:80",
            "http",
            "example.com",
            80
        ));
        assert!(matches("*://[::1]:*", "http", "::1", 9000));
        assert!(AllowedHost::parse("example.com").is_err());
    }

    #[test]
    fn networks_ranges_of_ports_and_default_ports_are_read() {
        let matches = |entry: &str, scheme, host, port| {
            AllowedHost::parse(entry)
                .unwrap()
                .matches(scheme, host, port)
        };
        assert!(matches(
            "postgres://10.0.0.0/8:5432",
            "postgres",
            "10.1.2.3",
            5432
        ));
        assert!(!matches(
            "postgres://10.0.0.0/8:5432",
            "postgres",
            "11.1.2.3",
            5432
        ));
        assert!(matches(
            "http://a.example:8000..8002",
            "http",
            "A.example",
            8001
        ));
        assert!(!matches(
            "http://a.example:8000..8002",
            "http",
            "a.example",
            8002
        ));
        assert!(matches("https://[::1]", "https", "::1", 443));
        assert!(matches("https://example.com/", "https", "example.com", 443));
        for entry in [
            "",
            "postgres://",
            "https://example.com/path",
            "https://example.com:70000",
            "ftp://example.com",
            "ht tp://example.com",
            "https://a*.example.com",
        ] {
            assert!(AllowedHost::parse(entry).is_err(), "{entry}");
        }
    }

    #[test]
    fn a_postgres_server_is_allowed_by_its_host_and_port() {
        let allows = |entry: &str, server| {
            AllowedHosts::parse(&[entry.to_owned()])
                .unwrap()
                .allows_postgres(server)
        };
        assert!(allows("postgres://db.example.com", "db.example.com"));
        assert!(allows("postgres://db.example.com", "db.example.com:5432"));
        assert!(!allows("postgres://db.example.com", "db.example.com:5433"));
        assert!(allows(
            "postgres://db.example.com:5433",
            "db.example.com:5433"
        ));
        assert!(allows("*://*:*", "127.0.0.1:6000"));
        assert!(!allows("https://*:*", "127.0.0.1:6000"));
        // A trap of Spin.
        assert!(!allows("*://*:*", "::1:5432"));
        assert!(!AllowedHosts::default().allows_postgres("db.example.com"));
    }
}
