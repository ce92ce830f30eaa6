//! Applications to create webhooks for.

use super::tokens::{self, Token};

/// An application that exists, with a merchant of its own.
#[derive(Clone, Debug)]
pub struct Application {
    pub id: String,
    pub merchant: String,
}

impl Application {
    pub fn new() -> Self {
        let id = uuid::Uuid::new_v4().to_string();
        Self {
            merchant: format!("merchant-of-{id}"),
            id,
        }
    }

    /// The path of its webhooks.
    pub fn path(&self) -> String {
        webhooks_path(&self.id)
    }

    /// The path of one of its webhooks.
    pub fn webhook_path(&self, id: &str) -> String {
        format!("{}/{id}", self.path())
    }

    /// The path of its events.
    pub fn events_path(&self) -> String {
        format!("/api/v1/applications/{}/events", self.id)
    }

    /// A valid token of its merchant.
    pub fn token(&self) -> String {
        self.claims().sign(tokens::hs256())
    }

    /// The claims of a valid token of its merchant, to change one before it is signed.
    pub fn claims(&self) -> Token {
        Token::of_merchant(&self.merchant)
    }

    /// The key of its document in the store.
    pub fn key(&self) -> String {
        format!("application/{}", self.id)
    }

    /// What the key of each of its webhooks starts with.
    pub fn webhook_prefix(&self) -> String {
        format!("webhook/{}/", self.id)
    }

    /// The key of the index of its webhooks.
    pub fn index_key(&self) -> String {
        format!("webhooks/{}", self.id)
    }

    pub fn document(&self) -> String {
        serde_json::json!({ "merchantId": self.merchant }).to_string()
    }
}

/// The path of an application's webhooks; `id` goes in as it is.
pub fn webhooks_path(id: &str) -> String {
    format!("/api/v1/applications/{id}/webhooks")
}
