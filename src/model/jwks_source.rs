//! Where the identity provider publishes its keys.

use std::time::Duration;

use url::{Host, Url};

/// Where more keys are than the configured ones: variables `jwks_url` and `jwks_cache_seconds`. Its URL
/// may hold a password in its query, so it has no `Debug`.
pub struct JwksSource {
    url: String,
    lifetime: Duration,
}

impl JwksSource {
    /// Checks the URL: https, or with `allow_insecure` also http to a loopback host.
    ///
    /// # Errors
    ///
    /// What the URL must be; never the URL.
    pub fn new(text: &str, lifetime: Duration, allow_insecure: bool) -> Result<Self, &'static str> {
        let url = Url::parse(text).map_err(|_| "must be an absolute URL")?;
        let loopback = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        match url.scheme() {
            // As with a webhook's URL: Spin takes it for a DNS name.
            "https" if matches!(url.host(), Some(Host::Ipv6(_))) => {
                return Err("must not have an IPv6 address as its host, which https cannot reach");
            }
            "https" => {}
            "http" if loopback && allow_insecure => {}
            _ => return Err("must start with https://"),
        }
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err("must have no user name, password or fragment");
        }
        Ok(Self {
            url: url.into(),
            lifetime,
        })
    }

    /// Whether the keys come over plain http.
    pub fn is_plain_http(&self) -> bool {
        self.url.starts_with("http:")
    }

    /// The URL: never shown.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How long keys that were fetched serve.
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_over_https_or_from_this_machine_where_the_operator_allows_it() {
        let accepted =
            |url: &str, insecure| JwksSource::new(url, Duration::from_secs(10), insecure).is_ok();
        for url in [
            "https://issuer.example.com/jwks?tenant=a",
            "https://10.0.0.1:8443/jwks",
        ] {
            assert!(accepted(url, false), "{url}");
        }
        for url in [
            "http://localhost:9000/jwks",
            "http://127.0.0.2/jwks",
            "http://[::1]:1/jwks",
        ] {
            assert!(!accepted(url, false), "{url}");
            assert!(accepted(url, true), "{url}");
        }
        for url in [
            "",
            "jwks",
            "http://issuer.example.com/jwks",
            "http://localhost.example.com/jwks",
            "http://10.0.0.1/jwks",
            "ftp://localhost/jwks",
            "file:///jwks.json",
            "data:application/json,{}",
            "https://user:password@issuer.example.com/jwks",
            "https://issuer.example.com/jwks#key",
        ] {
            assert!(!accepted(url, true), "{url}");
        }
    }
}
