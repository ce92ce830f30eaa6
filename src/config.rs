//! The service's variables, read and checked once per instance.

pub mod events;
mod values;
mod variables;

use std::num::NonZeroU32;
use std::sync::OnceLock;
use std::time::Duration;

use http::HeaderValue;

use self::values::{origins, previous_secrets_keys, secrets_key};
pub use self::variables::ConfigError;
use self::variables::{Variables, problem, read};
use crate::concurrency::try_join_bounded;
use crate::fault::Fault;
use crate::log;
use crate::model::caller::is_scope;
use crate::model::encryption::SecretsKey;
use crate::model::event::EventType;
use crate::model::event_catalogue::EventCatalogue;
use crate::model::ids::ApplicationId;
use crate::model::jwks_source::JwksSource;
use crate::model::key_set::KeySet;
use crate::model::operational::OperationalType;
use crate::model::operator_token::OperatorToken;

/// How requests of ours name their sender: `User-Agent`.
pub const SENDER: &str = concat!("application-webhooks/", env!("CARGO_PKG_VERSION"));

/// The names of all variables, as in `spin.toml`.
pub const VARIABLES: [&str; 24] = [
    "jwks",
    "jwks_url",
    "jwks_cache_seconds",
    "jwt_issuer",
    "jwt_audience",
    "jwt_merchant_claim",
    "secrets_key",
    "secrets_key_previous",
    "event_types",
    "event_type_details",
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
    "portal_scope",
    "operator_application",
];

/// What the log says where private networks are not blocked.
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
    /// What there is to say about them: variable `event_type_details`.
    pub event_catalogue: EventCatalogue,
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
    /// The scope of tokens that may open the portal of any application: variable `portal_scope`, a third
    /// one.
    pub portal_scope: String,
    /// The application that gets operational events, as events of its own: variable
    /// `operator_application`; `None`: they are lines of the log only.
    pub operator_application: Option<ApplicationId>,
}

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

    /// The types of events that a webhook of the application can subscribe to by name. Operational ones
    /// are for the operator's own.
    pub fn event_types_of(&self, application: Option<&ApplicationId>) -> Vec<EventType> {
        let mut types = self.event_types.clone();
        if self.operator_application.is_some() && application == self.operator_application.as_ref()
        {
            let operational = OperationalType::ALL.iter().map(|name| name.event_type());
            types.extend(operational.filter(|name| !self.event_types.contains(name)));
        }
        types
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
        let portal_scope = scope("portal_scope", "portal:create")?;
        if [&publisher_scope, &support_scope].contains(&&portal_scope) {
            let same = "must be another scope than `publisher_scope` and `support_scope`";
            return Err(problem("portal_scope", same));
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

        let event_catalogue = catalogue(&variables)?;
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
            event_types: event_catalogue.names(),
            event_catalogue,
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
            portal_scope,
            operator_application: optional("operator_application")
                .map(|id| ApplicationId::parse(&id).ok_or("must be the id of an application"))
                .transpose()
                .map_err(|error| problem("operator_application", error))?,
        })
    }
}

/// The variables of [`event_catalogue`].
const CATALOGUE: [&str; 2] = ["event_types", "event_type_details"];

/// The event types, for the component that reads no other variables.
///
/// # Errors
///
/// As [`Config::load`].
pub async fn event_catalogue() -> Result<EventCatalogue, Fault> {
    let values = try_join_bounded(CATALOGUE.map(read)).await?;
    let get = |name: &str| {
        let mut all = CATALOGUE.iter().zip(&values);
        all.find(|(variable, _)| **variable == name)
            .and_then(|(_, value)| value.clone())
    };
    catalogue(&Variables(&get)).map_err(|error| Fault::Internal(error.to_string()))
}

fn catalogue(variables: &Variables<'_>) -> Result<EventCatalogue, ConfigError> {
    let [names, details] = CATALOGUE.map(|name| variables.optional(name));
    EventCatalogue::parse(names.as_deref(), details.as_deref())
        .map_err(|error| problem(error.variable(), error))
}

#[cfg(test)]
mod tests;
