//! The variables of the environment, judged before the long build.

use std::fmt::Write as _;

use anyhow::{Result, bail};
use application_webhooks::config::events::EventsConfig;
use application_webhooks::config::{Config, ConfigError};
use portal::config::PortalConfig;

/// How Spin's environment provider spells a variable.
const PREFIX: &str = "SPIN_VARIABLE_";

/// How alike two names are that may be mistaken for each other, from 0 to 1. As clap has it.
const ALIKE: f64 = 0.7;

/// Good values, as a shell takes them, where the manifest's default is none.
const EXAMPLES: [(&str, &str); 15] = [
    (
        "jwks",
        r#"'{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}'"#,
    ),
    ("jwks_url", "https://login.example.com/jwks.json"),
    ("jwt_audience", "application-webhooks"),
    ("secrets_key", r#""$(openssl rand -base64 32)""#),
    ("secrets_key_previous", r#""$(openssl rand -base64 32)""#),
    ("cors_allowed_origins", "https://docs.example.com"),
    ("operator_token", r#""$(openssl rand -hex 32)""#),
    (
        "events_database",
        "postgres://user:password@127.0.0.1:5432/webhooks",
    ),
    ("events_database_host", "postgres://127.0.0.1:5432"),
    ("portal_url", "https://webhooks.example.com"),
    ("portal_name", "'Kadosei Webhooks'"),
    ("portal_logo_url", "https://cdn.example.com/logo.svg"),
    ("portal_accent", "'#1a5fb4'"),
    (
        "portal_refresh_url",
        "https://dashboard.example.com/webhooks",
    ),
    ("portal_frame_ancestors", "https://dashboard.example.com"),
];

/// The name of a variable in the environment.
pub fn environment_name(variable: &str) -> String {
    format!("{PREFIX}{}", variable.to_uppercase())
}

/// What the manifest's variables are without an environment.
pub struct Defaults<'a>(pub &'a toml::Table);

impl Defaults<'_> {
    /// The default of a variable, if it has one that is not empty.
    pub fn get(&self, variable: &str) -> Option<&str> {
        let variable = self.0.get("variables")?.get(variable)?;
        variable
            .get("default")?
            .as_str()
            .filter(|text| !text.is_empty())
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let variables = self.0.get("variables").and_then(toml::Value::as_table);
        variables
            .into_iter()
            .flat_map(toml::Table::keys)
            .map(|name| name.as_str())
    }

    /// A sentence on each name of the environment that looks like a variable and is none.
    pub fn unknown(&self, environment: impl Iterator<Item = String>) -> Vec<String> {
        let known: Vec<_> = self.names().map(environment_name).collect();
        let given = environment.filter(|name| name.starts_with(PREFIX) && !known.contains(name));
        let mut sentences: Vec<_> = given
            .map(|name| {
                let likeness = |known: &&String| {
                    let likeness = strsim::jaro_winkler(
                        known.trim_start_matches(PREFIX),
                        name.trim_start_matches(PREFIX).to_uppercase().as_str(),
                    );
                    (likeness * 1000.0) as u32
                };
                let nearest = known.iter().max_by_key(likeness);
                let nearest = nearest.filter(|known| f64::from(likeness(known)) >= ALIKE * 1000.0);
                let mend = nearest.map_or_else(
                    || "docs/configuration.md has the table of variables".to_owned(),
                    |known| format!("is {known} meant?"),
                );
                format!(
                    "{} is no variable of the service, and is ignored: {mend}",
                    visible(&name)
                )
            })
            .collect();
        sentences.sort();
        sentences
    }

    /// Ends with every variable that is malformed and how to make a good one. `given` is the
    /// environment by the variables' names, `ours` what `up` sets where that has none.
    pub fn check(
        &self,
        given: &dyn Fn(&str) -> Option<String>,
        ours: &dyn Fn(&str) -> Option<String>,
    ) -> Result<()> {
        let malformed = self.malformed(given, ours);
        if malformed.is_empty() {
            return Ok(());
        }
        let mut text = String::from(match malformed.len() {
            1 => "a variable is malformed",
            _ => "several variables are malformed",
        });
        for ConfigError { variable, problem } in malformed {
            let name = environment_name(variable);
            let _ = write!(text, "\n  {name} {problem}");
            if let Some(example) = self.example(variable) {
                let _ = write!(text, "\n    good is: export {name}={example}");
            }
        }
        bail!("{text}")
    }

    /// Each variable that the service would not start with. It reports one at a time, so what is
    /// found is left out of the next look.
    fn malformed(
        &self,
        given: &dyn Fn(&str) -> Option<String>,
        ours: &dyn Fn(&str) -> Option<String>,
    ) -> Vec<ConfigError> {
        let mut found: Vec<ConfigError> = Vec::new();
        loop {
            let get = |variable: &str| {
                let given =
                    given(variable).filter(|_| found.iter().all(|it| it.variable != variable));
                let default = || self.get(variable).map(str::to_owned);
                given.or_else(|| ours(variable)).or_else(default)
            };
            let checked = Config::parse(&get)
                .and_then(|config| EventsConfig::parse(&get, config.store_timeout))
                .and_then(|_| portal_config(&get));
            match checked {
                Err(error) if found.iter().all(|it| it.variable != error.variable) => {
                    found.push(error);
                }
                _ => return found,
            }
        }
    }

    /// A good value, as a shell takes it.
    fn example(&self, variable: &str) -> Option<String> {
        let example = EXAMPLES.iter().find(|(name, _)| *name == variable);
        let example = example.map(|(_, value)| (*value).to_owned());
        example.or_else(|| self.get(variable).map(super::screen::quoted))
    }
}

/// The portal's own variables.
fn portal_config(get: &dyn Fn(&str) -> Option<String>) -> Result<(), ConfigError> {
    let checked = PortalConfig::parse(get).map(drop);
    checked.map_err(|error| ConfigError {
        variable: error.variable,
        problem: error.problem.to_owned(),
    })
}

/// A name of the environment, which can be anything, on one line.
fn visible(name: &str) -> String {
    name.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project;

    fn manifest() -> toml::Table {
        project::manifest().unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// What `up` sets.
    fn ours(variable: &str) -> Option<String> {
        let example = || {
            let value = EXAMPLES[0].1.trim_matches('\'');
            value.to_owned()
        };
        match variable {
            "jwks" => Some(example()),
            "secrets_key" => Some("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn a_name_that_is_no_variable_is_warned_of_with_the_nearest_one() {
        let manifest = manifest();
        let defaults = Defaults(&manifest);
        let warnings = |name: &str| defaults.unknown([name.to_owned()].into_iter());
        for (name, nearest) in [
            ("SPIN_VARIABLE_JWK", "SPIN_VARIABLE_JWKS"),
            ("SPIN_VARIABLE_jwks_url", "SPIN_VARIABLE_JWKS_URL"),
            ("SPIN_VARIABLE_SECRET_KEY", "SPIN_VARIABLE_SECRETS_KEY"),
            (
                "SPIN_VARIABLE_RETRY_SHEDULE",
                "SPIN_VARIABLE_RETRY_SCHEDULE",
            ),
            (
                "SPIN_VARIABLE_MAX_WEBHOOKS",
                "SPIN_VARIABLE_MAX_WEBHOOKS_PER_APPLICATION",
            ),
        ] {
            let expected = format!(
                "{name} is no variable of the service, and is ignored: is {nearest} meant?"
            );
            assert_eq!(warnings(name), [expected]);
        }
        assert!(warnings("SPIN_VARIABLE_\u{1b}[2J")[0].contains("docs/configuration.md"));
        for known in [
            "SPIN_VARIABLE_JWKS",
            "SPIN_VARIABLE_EVENT_TYPES",
            "SPIN_HTTP",
            "PATH",
        ] {
            assert_eq!(warnings(known), [""; 0]);
        }
    }

    #[test]
    fn all_malformed_variables_are_reported_at_once_with_how_to_make_good_ones() {
        let manifest = manifest();
        let given = |variable: &str| {
            let value = match variable {
                "secrets_key" | "jwks" | "events_database" => "sesame",
                "max_event_bytes" => "1",
                _ => return None,
            };
            Some(value.to_owned())
        };
        let refused = Defaults(&manifest).check(&given, &ours);
        let text = refused.expect_err("malformed").to_string();
        for line in [
            "several variables are malformed\n",
            "  SPIN_VARIABLE_SECRETS_KEY must be base64 of 32 bytes\n    \
             good is: export SPIN_VARIABLE_SECRETS_KEY=\"$(openssl rand -base64 32)\"",
            "  SPIN_VARIABLE_JWKS must be a JSON Web Key Set",
            "  SPIN_VARIABLE_EVENTS_DATABASE must be empty or a URL",
            "  SPIN_VARIABLE_MAX_EVENT_BYTES must be a whole number from 1024 to 1048576\n    \
             good is: export SPIN_VARIABLE_MAX_EVENT_BYTES=262144",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(!text.contains("sesame"), "{text}");
        assert_eq!(text.matches("good is").count(), 4, "{text}");
    }

    #[test]
    fn the_environment_without_variables_is_good_and_so_is_each_example() {
        let manifest = manifest();
        let defaults = Defaults(&manifest);
        defaults
            .check(&|_| None, &ours)
            .expect("nothing is malformed");
        for variable in defaults.names() {
            let Some(example) = defaults.example(variable) else {
                continue;
            };
            let value = example
                .trim_matches(['\'', '"'])
                .replace(
                    "$(openssl rand -base64 32)",
                    "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
                )
                .replace("$(openssl rand -hex 32)", &"0123456789abcdef".repeat(4));
            let given = |name: &str| match name {
                // It is required with `jwks_url`.
                "jwt_audience" => Some("*".to_owned()),
                _ => (name == variable).then(|| value.clone()),
            };
            let checked = defaults.check(&given, &ours);
            checked.unwrap_or_else(|error| panic!("{variable}={value}: {error}"));
        }
        for (variable, _) in EXAMPLES {
            assert!(defaults.names().any(|name| name == variable), "{variable}");
        }
    }
}
