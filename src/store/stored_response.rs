//! The response to the first request with an `Idempotency-Key`, as its record holds it: without its
//! secret.

use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::json;
use crate::model::signing_secret::SigningSecret;

/// What is kept of a response.
#[derive(Clone, Serialize, Deserialize)]
pub struct StoredResponse {
    /// Its status.
    pub status: u16,
    /// Its header `Location`.
    pub location: Option<String>,
    /// Its header `ETag`.
    pub etag: Option<String>,
    body: StoredBody,
}

/// The body of a response, without its secret.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum StoredBody {
    /// A body that shows none, or one of version 1.
    Whole(String),
    /// What comes before the secret, and after it.
    Around([String; 2]),
}

impl StoredResponse {
    /// What is kept of a response whose body shows this secret, or none.
    ///
    /// # Errors
    ///
    /// [`Fault::Internal`] when the body cannot be written as JSON.
    pub fn new(
        status: u16,
        location: Option<String>,
        etag: &str,
        body: &impl Serialize,
        secret: Option<&SigningSecret>,
    ) -> Result<Self, Fault> {
        let body = json::write(body)?;
        let around = secret.and_then(|secret| {
            let (before, after) = body.split_once(&secret.reveal())?;
            Some([before.to_owned(), after.to_owned()])
        });
        Ok(Self {
            status,
            location,
            etag: Some(etag.to_owned()),
            body: around.map_or(StoredBody::Whole(body), StoredBody::Around),
        })
    }

    /// The body as it was, with the secret that it showed.
    ///
    /// # Errors
    ///
    /// [`Fault::Internal`] without the secret that belongs in it.
    pub fn body(&self, secret: Option<&SigningSecret>) -> Result<String, Fault> {
        match (&self.body, secret) {
            (StoredBody::Whole(body), _) => Ok(body.clone()),
            (StoredBody::Around([before, after]), Some(secret)) => {
                Ok(format!("{before}{}{after}", secret.reveal()))
            }
            (StoredBody::Around(_), None) => {
                Err(Fault::Internal("a response lacks its secret".to_owned()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn body(secret: &SigningSecret) -> Value {
        json!({"a": 1, "signingSecret": secret.reveal(), "z": 2})
    }

    fn stored(secret: &SigningSecret) -> StoredResponse {
        let body = body(secret);
        StoredResponse::new(201, None, "\"x\"", &body, Some(secret)).unwrap()
    }

    #[test]
    fn a_record_holds_no_secret_and_with_it_the_response_is_what_it_was() {
        let secret = SigningSecret::generate();
        let text = serde_json::to_string(&stored(&secret)).unwrap();
        assert!(!text.contains(&secret.reveal()), "{text}");
        let read: StoredResponse = serde_json::from_str(&text).unwrap();
        let expected = body(&secret).to_string();
        assert_eq!(read.body(Some(&secret)), Ok(expected));
        assert!(matches!(read.body(None), Err(Fault::Internal(_))));
    }
}
