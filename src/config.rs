//! The service's variables, read and checked once per instance.

pub mod events;

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::sync::OnceLock;
use std::time::Duration;

use http::HeaderValue;
use spin_sdk::variables;

use crate::concurrency::try_join_bounded;
use crate::fault::Fault;
use crate::log;
use crate::model::caller::is_scope;
use crate::model::encryption::SecretsKey;
use crate::model::event::EventType;
use crate::model::jwks_source::JwksSource;
use crate::model::key_set::KeySet;
use crate::model::operator_token::OperatorToken;

/// How requests of ours name their sender: `User-Agent`.
pub const SENDER: &str = concat!("application-webhooks/", env!("CARGO_PKG_VERSION"));

/// The names of all variables, as in `spin.toml`.
pub const VARIABLES: [&str; 21] = [
    "jwks",
    "jwks_url",
    "jwks_cache_seconds",
    "jwt_issuer",
    "jwt_audience",
    "jwt_merchant_claim",
    "secrets_key",
    "secrets_key_previous",
    "event_types",
    "max_applications_per_merchant",
    "max_webhooks_per_application",
    "max_changes_per_minute",
    "store_timeout_ms",
    "store_key_separator",
    "allow_insecure_urls",
    "cors_allowed_origins",
    "delivery_scheme",
    "private_networks",
    "operator_token",
    "publisher_scope",
    "support_scope",
];

/// What the operator is told where private networks are not blocked.
pub const PRIVATE_NETWORKS_OPEN: &str = "host names that resolve to private addresses are connected to: \
     start Spin with `--runtime-config-file` and a file made from one in deploy/";

/// What the operator decided. Holds secrets, so it has no `Debug`.
pub struct Config {
    /// The keys that verify merchants' tokens: variable `jwks`; none when it is not set.
    pub keys: KeySet,
    /// Where more such keys are: variables `jwks_url` and `jwks_cache_seconds`. There is one, or
    /// there are keys, or both.
    pub jwks_source: Option<JwksSource>,
    /// The `iss` that a token must have: variable `jwt_issuer`; `None`: not checked.
    pub issuer: Option<String>,
    /// The `aud` that a token must have: variable `jwt_audience`; `None`: not checked. With a
    /// provider that is so only where the operator says `*`.
    pub audience: Option<String>,
    /// The claim that holds the merchant's id: variable `jwt_merchant_claim`.
    pub merchant_claim: String,
    /// Encrypts signing secrets at rest: variables `secrets_key` and `secrets_key_previous`.
    pub secrets_key: SecretsKey,
    /// The events a webhook can subscribe to, in the operator's order: variable `event_types`.
    pub event_types: Vec<EventType>,
    /// Variable `max_applications_per_merchant`, 1 to 10,000.
    pub max_applications: usize,
    /// Variable `max_webhooks_per_application`, 1 to 10,000.
    pub max_webhooks: usize,
    /// How many changes one merchant may make in a minute: variable `max_changes_per_minute`, 0 to
    /// 1,000,000; 0 is `None`: any number.
    pub max_changes_per_minute: Option<NonZeroU32>,
    /// How long a request waits for the store in all: variable `store_timeout_ms`, 1 to 60,000.
    pub store_timeout: Duration,
    /// What stands between the parts of a key in the store: variable `store_key_separator`, `/`
    /// or `:`.
    pub store_key_separator: char,
    /// Whether http and private hosts are accepted too, for local development:
    /// variable `allow_insecure_urls`.
    pub allow_insecure_urls: bool,
    /// The origins whose pages may call the API from a browser: variable `cors_allowed_origins`.
    pub cors_allowed_origins: Vec<HeaderValue>,
    /// Whether the manifest lets requests out over plain http too: variable `delivery_scheme` is `*`.
    pub plain_http: bool,
    /// Whether the runtime config says that it blocks private networks: variable
    /// `private_networks` is `blocked`. Nothing here can test it: for each connection that Spin
    /// refuses, it writes an error into its own log.
    pub private_networks_blocked: bool,
    /// What the operator's requests carry: variable `operator_token`; `None`: there are none.
    pub operator_token: Option<OperatorToken>,
    /// The scope of tokens that may publish events: variable `publisher_scope`.
    pub publisher_scope: String,
    /// The scope of tokens that may read any application's events: variable `support_scope`,
    /// another one.
    pub support_scope: String,
}

/// A variable is missing or malformed. Names it, and never holds its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The variable's name.
    pub variable: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "variable `{}` {}", self.variable, self.problem)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// This instance's configuration, read when its first request asks for it.
    ///
    /// # Errors
    ///
    /// [`Fault::Internal`] when a variable is missing or malformed, [`Fault::Dependency`] when
    /// the variables' provider failed.
    pub async fn load() -> Result<&'static Self, Fault> {
        static CONFIG: OnceLock<Config> = OnceLock::new();

        if let Some(config) = CONFIG.get() {
            return Ok(config);
        }
        let values = try_join_bounded(VARIABLES.map(read)).await?;
        let get = |name: &str| {
            let mut all = VARIABLES.iter().zip(&values);
            all.find(|(variable, _)| **variable == name)
                .and_then(|(_, value)| value.clone())
        };
        let config = Self::parse(&get).map_err(|error| Fault::Internal(error.to_string()))?;
        // Requests that came at the same moment each read the same; one of them warns.
        Ok(CONFIG.get_or_init(|| {
            for warning in config.warnings() {
                log::warning(warning);
            }
            config
        }))
    }

    /// What is allowed and yet cannot be meant, in words for the operator.
    pub fn warnings(&self) -> Vec<&'static str> {
        let mut warnings = Vec::new();
        if self.reaches_private_networks() {
            warnings.push(PRIVATE_NETWORKS_OPEN);
        }
        if self.allow_insecure_urls && !self.plain_http {
            warnings.push(
                "`allow_insecure_urls` accepts http URLs, and none of them is ever reached: \
                 set `delivery_scheme` to `*`",
            );
        }
        let http_keys = self
            .jwks_source
            .as_ref()
            .is_some_and(JwksSource::is_plain_http);
        if http_keys && !self.plain_http {
            warnings.push("`jwks_url` is http, and is never reached: set `delivery_scheme` to `*`");
        }
        warnings
    }

    /// Whether a name that resolves to a private address may be connected to though no URL may
    /// name such an address.
    pub fn reaches_private_networks(&self) -> bool {
        !self.private_networks_blocked && !self.allow_insecure_urls
    }

    /// Checks the variables that `get` returns by name; `None` is a variable that is not set.
    ///
    /// # Errors
    ///
    /// The first variable that is missing or malformed.
    pub fn parse(get: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let variables = Variables(get);
        let optional = |variable| variables.optional(variable);
        let required = |variable| {
            optional(variable).ok_or_else(|| problem(variable, "is required and not set"))
        };
        let number = |variable, default, range| variables.number(variable, default, range);

        let allow_insecure_urls = match optional("allow_insecure_urls").as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => {
                return Err(problem("allow_insecure_urls", "must be `true` or `false`"));
            }
        };
        let scope = |variable, default: &str| {
            let name = optional(variable).unwrap_or_else(|| default.to_owned());
            match is_scope(&name) {
                true => Ok(name),
                false => Err(problem(variable, "must be the name of one scope")),
            }
        };
        let publisher_scope = scope("publisher_scope", "events:publish")?;
        let support_scope = scope("support_scope", "events:read")?;
        if support_scope == publisher_scope {
            let same = "must be another scope than `publisher_scope`";
            return Err(problem("support_scope", same));
        }
        let keys = optional("jwks")
            .map(|set| KeySet::parse(&set).map_err(|error| problem("jwks", error)))
            .transpose()?;
        let cached = number("jwks_cache_seconds", 300, 10..=86_400)?;
        let jwks_source = optional("jwks_url")
            .map(|url| {
                JwksSource::new(&url, Duration::from_secs(cached), allow_insecure_urls)
                    .map_err(|error| problem("jwks_url", error))
            })
            .transpose()?;
        // `*`: any audience will do, and somebody has said so.
        let audience = optional("jwt_audience");
        if jwks_source.is_some() && audience.is_none() {
            return Err(problem(
                "jwt_audience",
                "is required with `jwks_url`, whose provider issues tokens for other services too: \
                 set it to the `aud` of this service's tokens, or to `*` if every token will do",
            ));
        }
        let audience = audience.filter(|audience| audience != "*");
        if keys.is_none() && jwks_source.is_none() {
            return Err(problem(
                "jwks",
                "is not set, and neither is `jwks_url`: one of them is required",
            ));
        }

        Ok(Self {
            keys: keys.unwrap_or_default(),
            jwks_source,
            issuer: optional("jwt_issuer"),
            audience,
            merchant_claim: optional("jwt_merchant_claim").unwrap_or_else(|| "sub".to_owned()),
            secrets_key: secrets_key("secrets_key", &required("secrets_key")?)?.with_previous(
                match optional("secrets_key_previous") {
                    Some(list) => previous_secrets_keys(&list)?,
                    None => Vec::new(),
                },
            ),
            event_types: match optional("event_types") {
                Some(list) => event_types(&list)?,
                None => event_types("session.completed,session.expired")?,
            },
            max_applications: number("max_applications_per_merchant", 1000, 1..=10_000)? as usize,
            max_webhooks: number("max_webhooks_per_application", 50, 1..=10_000)? as usize,
            max_changes_per_minute: NonZeroU32::new(number(
                "max_changes_per_minute",
                120,
                0..=1_000_000,
            )? as u32),
            store_timeout: Duration::from_millis(number("store_timeout_ms", 2000, 1..=60_000)?),
            store_key_separator: match optional("store_key_separator").as_deref() {
                None | Some("/") => '/',
                Some(":") => ':',
                Some(_) => return Err(problem("store_key_separator", "must be `/` or `:`")),
            },
            allow_insecure_urls,
            cors_allowed_origins: match optional("cors_allowed_origins") {
                Some(list) => origins(&list)?,
                None => Vec::new(),
            },
            plain_http: match optional("delivery_scheme").as_deref() {
                None | Some("https") => false,
                Some("*") => true,
                Some(_) => return Err(problem("delivery_scheme", "must be `https` or `*`")),
            },
            private_networks_blocked: match optional("private_networks").as_deref() {
                None | Some("open") => false,
                Some("blocked") => true,
                Some(_) => {
                    return Err(problem("private_networks", "must be `blocked` or `open`"));
                }
            },
            operator_token: optional("operator_token")
                .map(|text| OperatorToken::parse(&text))
                .transpose()
                .map_err(|error| problem("operator_token", error))?,
            publisher_scope,
            support_scope,
        })
    }
}

/// The variables, by name.
struct Variables<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Variables<'_> {
    /// The variable's value, if it is set and not empty.
    fn optional(&self, variable: &'static str) -> Option<String> {
        let value = (self.0)(variable).map(|value| value.trim().to_owned());
        value.filter(|value| !value.is_empty())
    }

    /// The whole number that the variable is.
    fn number(
        &self,
        variable: &'static str,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> Result<u64, ConfigError> {
        let Some(text) = self.optional(variable) else {
            return Ok(default);
        };
        let number = text.parse().ok();
        number
            .filter(|number| range.contains(number))
            .ok_or_else(|| {
                let (least, most) = range.into_inner();
                let range = format!("must be a whole number from {least} to {most}");
                problem(variable, range)
            })
    }
}

/// A variable's value; `None`: it is not set.
async fn read(variable: &'static str) -> Result<Option<String>, Fault> {
    match variables::get(variable).await {
        Ok(value) => Ok(Some(value)),
        Err(variables::Error::Undefined(_)) => Ok(None),
        // The provider's text may hold what it should not: left out.
        Err(_) => Err(Fault::Dependency(format!(
            "variable `{variable}` could not be read"
        ))),
    }
}

fn problem(variable: &'static str, problem: impl ToString) -> ConfigError {
    ConfigError {
        variable,
        problem: problem.to_string(),
    }
}

fn secrets_key(variable: &'static str, text: &str) -> Result<SecretsKey, ConfigError> {
    SecretsKey::parse(text).map_err(|error| problem(variable, error))
}

fn previous_secrets_keys(list: &str) -> Result<Vec<SecretsKey>, ConfigError> {
    let keys = list.split(',').map(|text| {
        let key = SecretsKey::parse(text.trim());
        key.map_err(|_| {
            problem(
                "secrets_key_previous",
                "must be base64 of 32 bytes, or several such separated by commas",
            )
        })
    });
    keys.collect()
}

/// Origins as browsers send them (RFC 6454 §6.2): a scheme, a host in lower case, and a port where
/// it is not the scheme's own.
fn origins(list: &str) -> Result<Vec<HeaderValue>, ConfigError> {
    let malformed = || {
        problem(
            "cors_allowed_origins",
            "must be origins as browsers send them, like `https://docs.example.com`, separated by commas",
        )
    };
    let origins = list.split(',').map(|origin| {
        let origin = origin.trim();
        let url = url::Url::parse(origin).map_err(|_| malformed())?;
        if !["http", "https"].contains(&url.scheme())
            || url.origin().ascii_serialization() != origin
        {
            return Err(malformed());
        }
        HeaderValue::from_str(origin).map_err(|_| malformed())
    });
    origins.collect()
}

fn event_types(list: &str) -> Result<Vec<EventType>, ConfigError> {
    let mut types = Vec::new();
    for name in list.split(',') {
        let event_type = EventType::parse(name.trim()).ok_or_else(|| {
            problem(
                "event_types",
                "must be names of 1 to 128 letters, digits, `.`, `_` or `-`, separated by commas",
            )
        })?;
        if types.contains(&event_type) {
            return Err(problem("event_types", "must not name an event type twice"));
        }
        types.push(event_type);
    }
    Ok(types)
}

#[cfg(test)]
mod tests {
    use base64ct::Encoding;

    use super::*;

    const JWKS: &str =
        r#"{"keys":[{"kty":"oct","k":"MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE"}]}"#;
    const SECRETS_KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

    fn parse_with(variable: &str, value: Option<&str>) -> Result<Config, ConfigError> {
        Config::parse(&|name| {
            if name == variable {
                return value.map(str::to_owned);
            }
            match name {
                "jwks" => Some(JWKS.to_owned()),
                "secrets_key" => Some(SECRETS_KEY.to_owned()),
                _ => None,
            }
        })
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let config = parse_with("", None).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(config.issuer, None);
        assert_eq!(config.audience, None);
        assert_eq!(config.merchant_claim, "sub");
        assert_eq!(
            config
                .event_types
                .iter()
                .map(EventType::as_str)
                .collect::<Vec<_>>(),
            ["session.completed", "session.expired"]
        );
        assert_eq!(config.max_applications, 1000);
        assert_eq!(config.max_webhooks, 50);
        assert_eq!(config.max_changes_per_minute, NonZeroU32::new(120));
        assert_eq!(config.store_timeout, Duration::from_millis(2000));
        assert_eq!(config.store_key_separator, '/');
        assert!(!config.allow_insecure_urls);
        assert!(config.cors_allowed_origins.is_empty());
        assert!(!config.plain_http);
        assert!(!config.private_networks_blocked);
        assert!(config.operator_token.is_none());
    }

    fn parse(variables: &[(&str, &str)]) -> Config {
        let config = Config::parse(&|name| {
            let mut all = variables
                .iter()
                .chain(&[("jwks", JWKS), ("secrets_key", SECRETS_KEY)]);
            all.find(|(variable, _)| *variable == name)
                .map(|(_, value)| (*value).to_owned())
        });
        config.unwrap_or_else(|e| panic!("{variables:?}: {e}"))
    }

    #[test]
    fn private_networks_that_are_not_blocked_are_warned_of() {
        let open = [PRIVATE_NETWORKS_OPEN];
        assert_eq!(parse(&[]).warnings(), open);
        assert_eq!(parse(&[("private_networks", "open")]).warnings(), open);
        assert!(
            parse(&[("private_networks", "blocked")])
                .warnings()
                .is_empty()
        );
        // Where private hosts are accepted they are meant to be reached.
        let local = [("allow_insecure_urls", "true"), ("delivery_scheme", "*")];
        assert!(parse(&local).warnings().is_empty());
    }

    #[test]
    fn http_urls_that_can_never_be_reached_are_warned_of() {
        let blocked = ("private_networks", "blocked");
        let insecure = ("allow_insecure_urls", "true");
        let keys = ("jwks_url", "http://127.0.0.1/keys");
        let audience = ("jwt_audience", "*");
        let any = ("delivery_scheme", "*");
        let [warning] = parse(&[blocked, insecure]).warnings()[..] else {
            panic!("one warning");
        };
        assert!(warning.contains("allow_insecure_urls"), "{warning}");
        assert!(warning.contains("delivery_scheme"), "{warning}");
        let [_, warning] = parse(&[blocked, insecure, keys, audience]).warnings()[..] else {
            panic!("two warnings");
        };
        assert!(warning.contains("jwks_url"), "{warning}");
        assert!(
            parse(&[blocked, insecure, keys, audience, any])
                .warnings()
                .is_empty()
        );
        assert!(parse(&[blocked, any]).warnings().is_empty());
    }

    #[test]
    fn jwks_url_needs_jwt_audience_or_the_word_that_any_will_do() {
        let parse = |jwks_url: bool, audience: Option<&'static str>| {
            Config::parse(&|name| match name {
                "jwks" => Some(JWKS.to_owned()),
                "jwks_url" if jwks_url => Some("https://issuer.example.com/jwks".to_owned()),
                "jwt_audience" => audience.map(str::to_owned),
                "secrets_key" => Some(SECRETS_KEY.to_owned()),
                _ => None,
            })
        };
        for missing in [None, Some(""), Some(" ")] {
            let Err(error) = parse(true, missing) else {
                panic!("{missing:?} was accepted");
            };
            assert_eq!(error.variable, "jwt_audience");
            let config = parse(false, missing).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(config.audience, None);
        }
        for jwks_url in [true, false] {
            for (said, expected) in [("*", None), (" * ", None), ("webhooks", Some("webhooks"))] {
                let config = parse(jwks_url, Some(said)).unwrap_or_else(|e| panic!("{e}"));
                assert_eq!(config.audience.as_deref(), expected, "{said}");
            }
        }
    }

    #[test]
    fn several_previous_keys_are_separated_by_commas() {
        let key = |byte: u8| base64ct::Base64::encode_string(&[byte; 32]);
        for (list, count) in [
            (key(1), 1),
            (format!("{}, {}", key(1), key(2)), 2),
            (format!("{},{},{SECRETS_KEY}", key(1), key(2)), 3),
        ] {
            assert_eq!(
                previous_secrets_keys(&list).map(|keys| keys.len()),
                Ok(count)
            );
        }
        for list in [
            format!("{},", key(1)),
            format!(",{}", key(1)),
            key(1) + &key(2),
        ] {
            assert!(previous_secrets_keys(&list).is_err(), "{list}");
        }
    }

    #[test]
    fn a_wrong_variable_is_named_and_its_value_is_not_shown() {
        for (variable, value) in [
            ("jwks", None),
            ("jwks", Some("")),
            ("jwks", Some("sesame")),
            ("jwks", Some(r#"{"keys":[]}"#)),
            ("jwks", Some(r#"{"keys":[{"kty":"oct","k":"c2VzYW1l"}]}"#)),
            ("jwks_url", Some("sesame")),
            ("jwks_url", Some("http://sesame.example.com/")),
            ("jwks_cache_seconds", Some("9")),
            ("jwks_cache_seconds", Some("86401")),
            ("secrets_key", None),
            ("secrets_key", Some("sesame")),
            ("secrets_key", Some("c2VzYW1l")),
            ("secrets_key_previous", Some("sesame")),
            ("secrets_key_previous", Some("c2VzYW1l")),
            ("event_types", Some("a,,b")),
            ("event_types", Some("a,a")),
            ("event_types", Some("sesame!")),
            ("max_applications_per_merchant", Some("10001")),
            ("max_webhooks_per_application", Some("0")),
            ("max_webhooks_per_application", Some("sesame")),
            ("max_changes_per_minute", Some("sesame")),
            ("max_changes_per_minute", Some("1000001")),
            ("store_timeout_ms", Some("0")),
            ("store_timeout_ms", Some("-1")),
            ("store_timeout_ms", Some("60001")),
            ("store_key_separator", Some("sesame")),
            ("store_key_separator", Some("::")),
            ("allow_insecure_urls", Some("sesame")),
            ("delivery_scheme", Some("sesame")),
            ("delivery_scheme", Some("http")),
            ("private_networks", Some("sesame")),
            ("jwks_url", Some("https://[2606:4700:4700::5e5a]/sesame")),
            ("publisher_scope", Some("open sesame")),
            ("support_scope", Some("\"sesame\"")),
            ("support_scope", Some("events:publish")),
            ("operator_token", Some("sesame")),
            ("operator_token", Some("a sesame that is no bearer token")),
            ("cors_allowed_origins", Some("sesame")),
            ("cors_allowed_origins", Some("*")),
            ("cors_allowed_origins", Some("https://sesame.example.com/")),
            ("cors_allowed_origins", Some("https://SESAME.example.com")),
            ("cors_allowed_origins", Some("https://sesame.example.com,")),
        ] {
            let Err(error) = parse_with(variable, value) else {
                panic!("{variable} = {value:?} was accepted");
            };
            assert_eq!(error.variable, variable, "{value:?}");
            let text = error.to_string();
            assert!(text.contains(variable), "{text}");
            assert!(!text.contains("sesame"), "{text}");
        }
    }
}
