//! Variables whose values are more than a text or a number.

use http::HeaderValue;

use super::variables::{ConfigError, problem};
use crate::model::encryption::SecretsKey;

pub fn secrets_key(variable: &'static str, text: &str) -> Result<SecretsKey, ConfigError> {
    SecretsKey::parse(text).map_err(|error| problem(variable, error))
}

pub fn previous_secrets_keys(list: &str) -> Result<Vec<SecretsKey>, ConfigError> {
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
pub fn origins(list: &str) -> Result<Vec<HeaderValue>, ConfigError> {
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
