//! The spelling of every key. Where the store does not take `/`, variable `store_key_separator`
//! puts another character in its place.

use sha2::{Digest, Sha256};

use crate::model::application::ApplicationName;
use crate::model::ids::{ApplicationId, MerchantId, WebhookId};

/// JSON with at least `merchantId`: an application.
pub fn application(application: &ApplicationId) -> String {
    format!("application/{application}")
}

/// JSON: when an application was deleted, for about a minute.
pub fn application_deleted(application: &ApplicationId) -> String {
    format!("application-deleted/{application}")
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

/// JSON: when a webhook was deleted whose document can come back, for about a minute.
pub fn webhook_deleted(application: &ApplicationId, webhook: WebhookId) -> String {
    format!("webhook-deleted/{application}/{webhook}")
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

/// JSON: the generation of the sessions of the application's portal, once some were ended.
pub fn portal(application: &ApplicationId) -> String {
    format!("portal/{application}")
}

/// JSON: which of the application's webhooks have documents beside their own, as entries of an index.
pub fn webhooks_changed(application: &ApplicationId) -> String {
    format!("webhooks-changed/{application}")
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

/// A key of ours, and what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// [`application`]
    Application(ApplicationId),
    /// [`application_deleted`]
    ApplicationDeleted(ApplicationId),
    /// [`application_settings`]
    ApplicationSettings(ApplicationId),
    /// [`application_name`]
    ApplicationName,
    /// [`applications`]
    Applications,
    /// [`webhook`]
    Webhook(ApplicationId, WebhookId),
    /// [`webhook_deleted`]
    WebhookDeleted(ApplicationId, WebhookId),
    /// [`webhook_settings`]
    WebhookSettings(ApplicationId, WebhookId),
    /// [`webhook_secrets`]
    WebhookSecrets(ApplicationId, WebhookId),
    /// [`webhook_test`]
    WebhookTest(ApplicationId, WebhookId),
    /// [`webhooks`]
    Webhooks(ApplicationId),
    /// [`portal`]
    Portal(ApplicationId),
    /// [`webhooks_changed`]
    WebhooksChanged(ApplicationId),
    /// [`changes`]
    Changes,
    /// [`idempotency`]
    Idempotency,
    /// [`jwks`]
    Jwks,
    /// [`jwks_attempt`]
    JwksAttempt,
    /// It begins as ours do, and none of the above would be spelled so.
    Misspelled,
}

impl Named {
    /// Reads a key as the functions above spell it; `None`: it is of others who share the store.
    pub fn parse(key: &str) -> Option<Self> {
        let mut parts = key.split('/');
        let (kind, rest) = (parts.next()?, parts.collect::<Vec<_>>());
        let hex =
            |text: &str| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let application = |make: fn(ApplicationId) -> Self| match rest[..] {
            [id] => ApplicationId::parse(id).map(make),
            _ => None,
        };
        let of_webhook = |make: fn(ApplicationId, WebhookId) -> Self| match rest[..] {
            [application, id] => ApplicationId::parse(application)
                .zip(WebhookId::parse(id).filter(|parsed| parsed.to_string() == id))
                .map(|(application, id)| make(application, id)),
            _ => None,
        };
        let digests = |count: usize, named: Self| {
            (rest.len() == count && rest.iter().all(|part| hex(part))).then_some(named)
        };
        let named = match kind {
            "application" => application(Self::Application),
            "application-deleted" => application(Self::ApplicationDeleted),
            "application-settings" => application(Self::ApplicationSettings),
            "application-name" => digests(2, Self::ApplicationName),
            "applications" => digests(1, Self::Applications),
            "webhook" => of_webhook(Self::Webhook),
            "webhook-deleted" => of_webhook(Self::WebhookDeleted),
            "webhook-settings" => of_webhook(Self::WebhookSettings),
            "webhook-secrets" => of_webhook(Self::WebhookSecrets),
            "webhook-test" => of_webhook(Self::WebhookTest),
            "webhooks" => application(Self::Webhooks),
            "portal" => application(Self::Portal),
            "webhooks-changed" => application(Self::WebhooksChanged),
            "changes" => digests(1, Self::Changes),
            "idempotency" => digests(1, Self::Idempotency),
            "jwks" => digests(1, Self::Jwks),
            "jwks-attempt" => digests(1, Self::JwksAttempt),
            _ => return None,
        };
        Some(named.unwrap_or(Self::Misspelled))
    }

    /// The first part of the key; of a misspelled one, `misspelled`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Application(_) => "application",
            Self::ApplicationDeleted(_) => "application-deleted",
            Self::ApplicationSettings(_) => "application-settings",
            Self::ApplicationName => "application-name",
            Self::Applications => "applications",
            Self::Webhook(..) => "webhook",
            Self::WebhookDeleted(..) => "webhook-deleted",
            Self::WebhookSettings(..) => "webhook-settings",
            Self::WebhookSecrets(..) => "webhook-secrets",
            Self::WebhookTest(..) => "webhook-test",
            Self::Webhooks(_) => "webhooks",
            Self::Portal(_) => "portal",
            Self::WebhooksChanged(_) => "webhooks-changed",
            Self::Changes => "changes",
            Self::Idempotency => "idempotency",
            Self::Jwks => "jwks",
            Self::JwksAttempt => "jwks-attempt",
            Self::Misspelled => "misspelled",
        }
    }
}

/// Text of others as part of a key: 32 hexadecimal digits of its SHA-256.
fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
    }
    base16ct::lower::encode_string(&hash.finalize()[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_read_as_it_is_spelled() {
        let application_id = ApplicationId::parse("a.b~1").unwrap();
        let id = WebhookId::from_random_bytes([0xab; 16]);
        let merchant = MerchantId::parse("m").unwrap();
        let name = ApplicationName::parse("n").unwrap();
        let (a, w) = (application_id.clone(), id);
        for (key, named) in [
            (application(&a), Named::Application(a.clone())),
            (
                application_deleted(&a),
                Named::ApplicationDeleted(a.clone()),
            ),
            (
                application_settings(&a),
                Named::ApplicationSettings(a.clone()),
            ),
            (application_name(&merchant, &name), Named::ApplicationName),
            (applications(&merchant), Named::Applications),
            (webhook(&a, w), Named::Webhook(a.clone(), w)),
            (webhook_deleted(&a, w), Named::WebhookDeleted(a.clone(), w)),
            (
                webhook_settings(&a, w),
                Named::WebhookSettings(a.clone(), w),
            ),
            (webhook_secrets(&a, w), Named::WebhookSecrets(a.clone(), w)),
            (webhook_test(&a, w), Named::WebhookTest(a.clone(), w)),
            (webhooks(&a), Named::Webhooks(a.clone())),
            (portal(&a), Named::Portal(a.clone())),
            (webhooks_changed(&a), Named::WebhooksChanged(a.clone())),
            (changes(&merchant), Named::Changes),
            (idempotency("scope"), Named::Idempotency),
            (jwks("url"), Named::Jwks),
            (jwks_attempt("url"), Named::JwksAttempt),
        ] {
            assert!(key.starts_with(&format!("{}/", named.kind())), "{key}");
            assert_eq!(Named::parse(&key), Some(named), "{key}");
        }
        let upper = webhook(&a, w)
            .to_uppercase()
            .replace("WEBHOOK/A.B~1", "webhook/a");
        for misspelled in [
            "application",
            "application/..",
            "application/a/b",
            "webhook/a/1",
            "webhooks/",
            "changes/x",
            &upper,
        ] {
            assert_eq!(
                Named::parse(misspelled),
                Some(Named::Misspelled),
                "{misspelled}"
            );
        }
        for foreign in ["", "/", "others/x", "Application/a", "readyz"] {
            assert_eq!(Named::parse(foreign), None, "{foreign}");
        }
    }
}
