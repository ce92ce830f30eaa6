//! What a webhook is: the documents that make it, and what they say together.

use std::iter;

use serde::{Deserialize, Serialize};

use super::event::SubscribedEvents;
use super::ids::{ApplicationId, WebhookId};
use super::rotation::{Rotations, StoredSecret, lives_until};
use super::time::Timestamp;

/// The document under `webhook/{applicationId}/{webhookId}`: the webhook as it was created.
///
/// Written once, by the request that creates the webhook; what changes later is kept under
/// other keys, so that nobody who changes a webhook can bring back one that was deleted.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WebhookRecord {
    /// The document's version: 1.
    pub v: u8,
    /// The webhook's id.
    pub id: WebhookId,
    /// The application it belongs to. The first documents did not say: their key does.
    #[serde(default)]
    pub application_id: Option<ApplicationId>,
    /// Where its deliveries go, as the merchant spelled it.
    pub url: String,
    /// Whether events are delivered.
    pub is_active: bool,
    /// The events it is subscribed to.
    pub subscribed_events: SubscribedEvents,
    /// The signing secret it was created with.
    pub secret: StoredSecret,
    /// When it was created.
    pub created_at: Timestamp,
}

impl WebhookRecord {
    /// The current version of the document.
    pub const VERSION: u8 = 1;

    /// Whether this is the document of that webhook, in a version that we know.
    pub fn belongs_under(&self, application: &ApplicationId, id: WebhookId) -> bool {
        let owner = self.application_id.as_ref();
        self.v == Self::VERSION && owner.is_none_or(|id| id == application) && self.id == id
    }
}

/// The document under `webhook-settings/{applicationId}/{webhookId}`: what the merchant changed
/// last. Written by changes only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WebhookSettings {
    /// Where deliveries go.
    pub url: String,
    /// Whether events are delivered.
    pub is_active: bool,
    /// The events it is subscribed to.
    pub subscribed_events: SubscribedEvents,
    /// When this was changed.
    pub updated_at: Timestamp,
    /// When the service made it inactive; `None`: it did not, or the merchant has decided since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled_at: Option<Timestamp>,
    /// Why it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled_reason: Option<DisabledReason>,
}

/// Why the service made a webhook inactive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DisabledReason {
    /// Its endpoint returned 410 twice to the same event, at least five minutes apart.
    Gone,
}

impl WebhookSettings {
    /// Makes the webhook inactive, because the service says so.
    pub fn disable(&mut self, reason: DisabledReason, now: Timestamp) {
        self.is_active = false;
        self.disabled_at = Some(now);
        self.disabled_reason = Some(reason);
        self.updated_at = now.max(self.updated_at);
    }

    /// Makes the webhook active or inactive, because the merchant says so.
    pub fn set_active(&mut self, is_active: bool) {
        self.is_active = is_active;
        if is_active {
            self.disabled_at = None;
            self.disabled_reason = None;
        }
    }
}

/// How a test delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum TestStatus {
    /// The endpoint answered with a status of 200 to 299.
    Succeeded,
    /// It answered otherwise, or not at all.
    Failed,
}

impl TestStatus {
    /// The status of a test that succeeded or failed.
    pub fn of(success: bool) -> Self {
        if success {
            Self::Succeeded
        } else {
            Self::Failed
        }
    }
}

/// The document under `webhook-test/{applicationId}/{webhookId}`: the last test delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastTest {
    /// When it was sent.
    pub at: Timestamp,
    /// How it ended.
    pub status: TestStatus,
}

/// A webhook as it is now: what was created, with all that changed since.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// As it was created.
    pub created: WebhookRecord,
    /// What the merchant changed last.
    pub settings: Option<WebhookSettings>,
    /// The rotations of its secret.
    pub rotations: Rotations,
    /// Its last test delivery.
    pub last_test: Option<LastTest>,
}

impl Webhook {
    /// A webhook that was created just now.
    pub fn new(created: WebhookRecord) -> Self {
        Self {
            created,
            settings: None,
            rotations: Rotations::default(),
            last_test: None,
        }
    }

    /// Its settings as they are now.
    pub fn settings(&self) -> WebhookSettings {
        self.settings.clone().unwrap_or_else(|| WebhookSettings {
            url: self.created.url.clone(),
            is_active: self.created.is_active,
            subscribed_events: self.created.subscribed_events.clone(),
            updated_at: self.created.created_at,
            disabled_at: None,
            disabled_reason: None,
        })
    }

    /// The secret that it was created with, as it is encrypted now.
    pub fn first_secret(&self) -> &StoredSecret {
        let resealed = self.rotations.first.as_ref();
        resealed.unwrap_or(&self.created.secret)
    }

    /// The newest secret: the one that is shown by its fingerprint.
    pub fn newest_secret(&self) -> &StoredSecret {
        let newest = self.rotations.rotations.last();
        newest.map_or(self.first_secret(), |rotation| &rotation.secret)
    }

    /// The secrets that deliveries are signed with at `now`, the newest first.
    pub fn live_secrets(&self, now: Timestamp) -> Vec<&StoredSecret> {
        let previous = self.previous_secrets(now).into_iter();
        let previous = previous.map(|(secret, _)| secret);
        iter::once(self.newest_secret()).chain(previous).collect()
    }

    /// The secrets that have ended at `now` and are still kept, the newest first: those before the last
    /// rotation, mostly.
    pub fn ended_secrets(&self, now: Timestamp) -> Vec<&StoredSecret> {
        let live = self.live_secrets(now);
        let rotations = self.rotations.rotations.iter().rev();
        let first = (!self.rotations.pruned).then(|| self.first_secret());
        let kept = rotations.map(|rotation| &rotation.secret).chain(first);
        kept.filter(|kept| !live.contains(kept)).collect()
    }

    /// The secrets before the newest that deliveries are signed with at `now`, each with when that
    /// ends. The newest first.
    pub fn previous_secrets(&self, now: Timestamp) -> Vec<(&StoredSecret, Timestamp)> {
        let rotations = &self.rotations.rotations;
        let mut previous = Vec::new();
        for (index, rotation) in rotations.iter().enumerate().rev() {
            if rotation.ends_all_earlier() {
                break;
            }
            let replaced = match index.checked_sub(1) {
                Some(before) => &rotations[before].secret,
                None if self.rotations.pruned => break,
                None => self.first_secret(),
            };
            let until = lives_until(rotation);
            if until > now {
                previous.push((replaced, until));
            }
        }
        previous.truncate(Rotations::MAX_OLD_SECRETS);
        previous
    }

    /// When something of it changed last. A test changes nothing.
    pub fn updated_at(&self) -> Timestamp {
        let rotated = self.rotations.rotations.last().map(|last| last.rotated_at);
        let set = self.settings.as_ref().map(|settings| settings.updated_at);
        self.created
            .created_at
            .max(rotated.unwrap_or(self.created.created_at))
            .max(set.unwrap_or(self.created.created_at))
    }
}

#[cfg(test)]
mod tests;
