//! The portal's variables. Those of its sessions are the API's.

use std::fmt::{Display, Formatter};

use serde::Serialize;
use url::{Host, Url};

/// The names of the variables, as in `spin.toml`.
pub const VARIABLES: [&str; 5] = [
    "portal_name",
    "portal_logo_url",
    "portal_accent",
    "portal_refresh_url",
    "portal_frame_ancestors",
];

/// How long a platform's name may be, in characters.
const MAX_NAME: usize = 64;

/// A variable is malformed. Names it, and never holds its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The variable's name.
    pub variable: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl Display for ConfigError {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "variable `{}` {}", self.variable, self.problem)
    }
}

impl std::error::Error for ConfigError {}

/// What the platform decided about its portal: `/portal/config.json`, and who may frame the page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PortalConfig {
    /// The page's title: variable `portal_name`, at most 64 characters.
    name: String,
    /// Where the platform's logo is: variable `portal_logo_url`.
    logo_url: Option<String>,
    /// The origin that it is loaded from.
    #[serde(skip)]
    logo_origin: Option<String>,
    /// The one colour of the page that is the platform's, such as `#1a5fb4`: variable `portal_accent`.
    accent: Option<String>,
    /// Where a merchant gets another link to the portal: variable `portal_refresh_url`.
    refresh_url: Option<String>,
    /// The sources that may frame the page (CSP Level 3, `frame-ancestors`): variable
    /// `portal_frame_ancestors`.
    #[serde(skip)]
    frame_ancestors: String,
}

impl PortalConfig {
    /// Checks the variables that `get` returns by name; `None` is a variable that is not set.
    ///
    /// # Errors
    ///
    /// The first variable that is malformed.
    pub fn parse(get: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let optional = |variable: &str| {
            let value = get(variable).map(|value| value.trim().to_owned());
            value.filter(|value| !value.is_empty())
        };
        let name = optional("portal_name").unwrap_or_else(|| "Webhooks".to_owned());
        if name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
            return Err(ConfigError {
                variable: "portal_name",
                problem: "must be at most 64 characters on one line",
            });
        }
        let url = |variable| {
            let url = optional(variable).map(|text| page_url(&text)).transpose();
            url.map_err(|problem| ConfigError { variable, problem })
        };
        let accent = optional("portal_accent");
        if accent.as_deref().is_some_and(|accent| !is_colour(accent)) {
            return Err(ConfigError {
                variable: "portal_accent",
                problem: "must be a colour of six hexadecimal digits, such as #1a5fb4",
            });
        }
        let frame_ancestors = match optional("portal_frame_ancestors") {
            None => "'none'".to_owned(),
            Some(list) => frame_ancestors(&list).ok_or(ConfigError {
                variable: "portal_frame_ancestors",
                problem: "must be 'none', or origins such as https://dashboard.example.com or \
                          https://*.example.com and 'self', separated by spaces",
            })?,
        };
        let logo = url("portal_logo_url")?;
        let origin = |url: &Url| url.origin().ascii_serialization();
        Ok(Self {
            name,
            logo_origin: logo.as_ref().map(origin),
            logo_url: logo.map(String::from),
            accent,
            refresh_url: url("portal_refresh_url")?.map(String::from),
            frame_ancestors,
        })
    }

    /// What the page asks for.
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("texts are JSON")
    }

    /// The page's `Content-Security-Policy`: nothing is loaded from elsewhere, but for the logo.
    pub fn policy(&self) -> String {
        let logo = self.logo_origin.as_ref();
        let logo = logo.map(|origin| format!(" {origin}"));
        format!(
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
             img-src 'self'{}; base-uri 'none'; form-action 'none'; frame-ancestors {}",
            logo.unwrap_or_default(),
            self.frame_ancestors,
        )
    }
}

/// A URL that the page may load or lead to. Over http only on this machine, for development.
fn page_url(text: &str) -> Result<Url, &'static str> {
    let problem = "must be a URL that starts with https://, without a user and a password";
    let url = Url::parse(text).map_err(|_| problem)?;
    let is_plain = url.username().is_empty() && url.password().is_none();
    match is_plain && is_safe(&url) {
        true => Ok(url),
        false => Err(problem),
    }
}

fn is_safe(url: &Url) -> bool {
    let is_here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.scheme() == "https" || url.scheme() == "http" && is_here
}

fn is_colour(text: &str) -> bool {
    let digits = text.strip_prefix('#').unwrap_or_default();
    digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The sources, each checked, with single spaces between them.
fn frame_ancestors(list: &str) -> Option<String> {
    let sources: Vec<&str> = list.split_whitespace().collect();
    let is_source = |source: &&str| match *source {
        "'none'" => sources.len() == 1,
        "'self'" => true,
        source => {
            // A wildcard stands for the first labels of a name.
            let origin = source.replacen("://*.", "://", 1);
            let url = Url::parse(&origin);
            url.is_ok_and(|url| is_safe(&url) && url.origin().ascii_serialization() == origin)
        }
    };
    sources.iter().all(is_source).then(|| sources.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str, value: &str) -> Result<PortalConfig, ConfigError> {
        PortalConfig::parse(&|asked| (asked == name).then(|| value.to_owned()))
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere_and_nobody_frames_the_page_unless_a_variable_says_so() {
        let policy = |name, value| parse(name, value).map(|config| config.policy());
        let unset = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                     img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
        assert_eq!(policy("", "").as_deref(), Ok(unset));
        let logo = policy(
            "portal_logo_url",
            "https://cdn.example.com:8443/logo.svg?v=1",
        );
        let from = "img-src 'self' https://cdn.example.com:8443;";
        assert_eq!(logo, Ok(unset.replace("img-src 'self';", from)));
        for (value, sources) in [
            ("'none'", "'none'"),
            ("'self'", "'self'"),
            (
                " https://dashboard.example.com  'self' ",
                "https://dashboard.example.com 'self'",
            ),
            ("https://*.example.com:8443", "https://*.example.com:8443"),
            ("http://localhost:3000", "http://localhost:3000"),
        ] {
            let framed = policy("portal_frame_ancestors", value);
            let expected = unset.replace("ancestors 'none'", &format!("ancestors {sources}"));
            assert_eq!(framed, Ok(expected), "{value}");
        }
    }

    #[test]
    fn a_wrong_variable_is_named_and_not_shown() {
        for (name, values) in [
            ("portal_name", &["sesame\nb", &"x".repeat(65)][..]),
            (
                "portal_logo_url",
                &[
                    "logo.svg",
                    "http://cdn.example.com/logo.svg",
                    "data:image/png;base64,AA==",
                    "https://user:sesame@example.com/",
                ],
            ),
            ("portal_accent", &["sesame", "#abc", "#12345g", "123456"]),
            (
                "portal_refresh_url",
                &["javascript:sesame", "/portal", "http://example.com/"],
            ),
            (
                "portal_frame_ancestors",
                &[
                    "*",
                    "'none' 'self'",
                    "https://example.com/sesame",
                    "https://example.com; script-src *",
                    "http://example.com",
                    "example.com",
                    "https:",
                    "https://EXAMPLE.com",
                    "'unsafe-inline'",
                ],
            ),
        ] {
            for value in values {
                let Err(error) = parse(name, value) else {
                    panic!("{name} = {value} was accepted");
                };
                assert_eq!(error.variable, name);
                assert!(!error.to_string().contains("sesame"), "{error}");
            }
        }
        for (name, value) in [
            ("portal_name", "Kadosei Webhooks"),
            ("portal_accent", "#1A5fb4"),
            (
                "portal_refresh_url",
                "https://dashboard.example.com/webhooks?from=portal",
            ),
            ("portal_refresh_url", "http://localhost:8080/webhooks"),
        ] {
            assert!(parse(name, value).is_ok(), "{name} = {value}");
        }
    }
}
