//! What the doctor finds.

use crate::model::ids::{ApplicationId, WebhookId};
use crate::store::index::Damage;
use crate::store::keys;

/// Something that is wrong.
pub enum Finding {
    /// A document cannot be read. It could be a merchant's data, and a person must decide.
    Unreadable(String),
    /// A key is none of ours and looks like one.
    Misspelled(String),
    /// A webhook's application is not there. It could be about to be created by whoever owns the
    /// applications, so a person must decide.
    WithoutApplication(ApplicationId, WebhookId),
    /// A webhook was deleted, or its application with it, and is back: the process that looks again after
    /// a delete died.
    Returned(ApplicationId, WebhookId),
    /// The same of an application.
    ReturnedApplication(ApplicationId),
    /// The mark of a delete whose process died, and which nothing came back after.
    OldMark(String),
    /// A document belongs to a webhook that is not there.
    Remains(String, ApplicationId, WebhookId),
    /// The record of an `Idempotency-Key` that is free again holds a secret: version 1 of it did.
    OldSecret(String),
    /// The index of an application's webhooks is not what their documents say.
    Webhooks(Damage<WebhookId>),
    /// The same of a merchant's applications.
    Applications(Damage<ApplicationId>),
}

impl Finding {
    /// The key of the document that is wrong.
    pub fn key(&self) -> String {
        match self {
            Self::Unreadable(key) | Self::Misspelled(key) => key.clone(),
            Self::Remains(key, ..) | Self::OldSecret(key) | Self::OldMark(key) => key.clone(),
            Self::WithoutApplication(application, id) | Self::Returned(application, id) => {
                keys::webhook(application, *id)
            }
            Self::ReturnedApplication(id) => keys::application(id),
            Self::Webhooks(damage) => damage.key().to_owned(),
            Self::Applications(damage) => damage.key().to_owned(),
        }
    }

    /// Its kind, for programs.
    pub fn problem(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "unreadable",
            Self::Misspelled(_) => "misspelled",
            Self::WithoutApplication(..) => "withoutApplication",
            Self::Returned(..) | Self::ReturnedApplication(_) => "returned",
            Self::OldMark(_) => "oldMark",
            Self::Remains(..) => "remains",
            Self::OldSecret(_) => "oldSecret",
            Self::Webhooks(_) | Self::Applications(_) => "index",
        }
    }

    /// What is wrong, for people.
    pub fn message(&self) -> String {
        let (readable, lacking, dangling) = match self {
            Self::Unreadable(_) => return "cannot be read; requests for it get 502".to_owned(),
            Self::Misspelled(_) => return "looks like a key of ours; nothing reads it".to_owned(),
            Self::WithoutApplication(..) => return "its application is not there".to_owned(),
            Self::Returned(..) | Self::ReturnedApplication(_) => {
                return "was deleted, and a late write brought it back".to_owned();
            }
            Self::OldMark(_) => return "is left of a delete that is over".to_owned(),
            Self::Remains(..) => return "is left of a webhook that is not there".to_owned(),
            Self::OldSecret(_) => return "holds a secret that no repeat gets any more".to_owned(),
            Self::Webhooks(it) => (it.is_readable(), it.lacking(), it.dangling()),
            Self::Applications(it) => (it.is_readable(), it.lacking(), it.dangling()),
        };
        match readable {
            true => format!("{lacking} ids lack, {dangling} are without a document"),
            false => format!("cannot be read; {lacking} ids belong there"),
        }
    }

    /// Whether a person must decide: it is only reported.
    pub fn is_for_a_person(&self) -> bool {
        matches!(
            self,
            Self::Unreadable(_) | Self::Misspelled(_) | Self::WithoutApplication(..)
        )
    }
}
