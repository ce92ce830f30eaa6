//! The spelling of every key. Where the store does not take `/`, variable `store_key_separator`
//! puts another character in its place.

use sha2::{Digest, Sha256};

use crate::model::application::ApplicationName;
use crate::model::ids::{ApplicationId, MerchantId, WebhookId};

/// JSON with at least `merchantId`: an application.
pub fn application(application: &ApplicationId) -> String {
    format!("application/{application}")
}

/// JSON: what the merchant changed of an application.
pub fn application_settings(application: &ApplicationId) -> String {
    format!("application-settings/{application}")
}

/// What stands for a merchant in keys and in the log: 32 hexadecimal digits of its id's SHA-256.
pub fn merchant(merchant: &MerchantId) -> String {
    digest(&[merchant.as_str()])
}

/// JSON: the merchant's applications, as entries of an index.
pub fn applications(merchant: &MerchantId) -> String {
    format!("applications/{}", self::merchant(merchant))
}

/// JSON: the application that claimed this name last. It may have been renamed or deleted since.
pub fn application_name(merchant: &MerchantId, name: &ApplicationName) -> String {
    let name = digest(&[name.as_str()]);
    format!("application-name/{}/{name}", self::merchant(merchant))
}

/// JSON: a webhook as it was created. It exists if and only if this key does.
pub fn webhook(application: &ApplicationId, webhook: WebhookId) -> String {
    format!("webhook/{application}/{webhook}")
}

/// JSON: what the merchant changed of a webhook.
pub fn webhook_settings(application: &ApplicationId, webhook: WebhookId) -> String {
    format!("webhook-settings/{application}/{webhook}")
}

/// JSON: the rotations of a webhook's secret.
pub fn webhook_secrets(application: &ApplicationId, webhook: WebhookId) -> String {
    format!("webhook-secrets/{application}/{webhook}")
}

/// JSON: the result of a webhook's last test.
pub fn webhook_test(application: &ApplicationId, webhook: WebhookId) -> String {
    format!("webhook-test/{application}/{webhook}")
}

/// JSON: the application's webhooks, as entries of an index.
pub fn webhooks(application: &ApplicationId) -> String {
    format!("webhooks/{application}")
}

/// JSON: how many changes a merchant made lately.
pub fn changes(merchant: &MerchantId) -> String {
    format!("changes/{}", self::merchant(merchant))
}

/// JSON: the first response to a request with an `Idempotency-Key`.
pub fn idempotency(scope: &str) -> String {
    format!("idempotency/{}", digest(&[scope]))
}

/// JSON: the keys that were fetched from `jwks_url`, sealed.
pub fn jwks(url: &str) -> String {
    format!("jwks/{}", digest(&[url]))
}

/// JSON: when `jwks_url` was last asked for an unknown key, or in vain.
pub fn jwks_attempt(url: &str) -> String {
    format!("jwks-attempt/{}", digest(&[url]))
}

/// Text of others as part of a key: 32 hexadecimal digits of its SHA-256.
fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
    }
    base16ct::lower::encode_string(&hash.finalize()[..16])
}
