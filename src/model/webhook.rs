//! What a webhook is: the documents that make it, and what they say together.

use std::iter;

use serde::{Deserialize, Serialize};

use super::condition::{Disabled, DisabledReason, Failures};
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
    /// Whether it has no documents beside this one unless `webhooks-changed/{applicationId}` says so. Earlier
    /// releases kept no such index: who lists their webhooks looks.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_tracked: bool,
    /// Whether its create had an `Idempotency-Key`: then several requests may have written this document,
    /// and a write of one that was cut off can take effect after the webhook is deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_repeatable: bool,
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
    /// When the merchant last made it active; `None`: it has been since its creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activated_at: Option<Timestamp>,
    /// When the merchant last changed the URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_changed_at: Option<Timestamp>,
    /// When the service made it inactive. An earlier release wrote it here; now it stands in
    /// [`Condition`](super::condition::Condition).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled_at: Option<Timestamp>,
    /// Why it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled_reason: Option<DisabledReason>,
}

/// [`WebhookSettings`] as a webhook has them: of one that was never changed they are what it was created with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are those of `WebhookSettings`")]
pub struct Settings<'a> {
    pub url: &'a str,
    pub is_active: bool,
    pub subscribed_events: &'a SubscribedEvents,
    pub updated_at: Timestamp,
    pub activated_at: Option<Timestamp>,
    pub url_changed_at: Option<Timestamp>,
    pub disabled_at: Option<Timestamp>,
    pub disabled_reason: Option<DisabledReason>,
}

impl From<Settings<'_>> for WebhookSettings {
    fn from(settings: Settings<'_>) -> Self {
        Self {
            url: settings.url.to_owned(),
            is_active: settings.is_active,
            subscribed_events: settings.subscribed_events.clone(),
            updated_at: settings.updated_at,
            activated_at: settings.activated_at,
            url_changed_at: settings.url_changed_at,
            disabled_at: settings.disabled_at,
            disabled_reason: settings.disabled_reason,
        }
    }
}

impl WebhookSettings {
    /// Makes the webhook active or inactive, because the merchant says so.
    pub fn set_active(&mut self, is_active: bool, now: Timestamp) {
        self.is_active = is_active;
        if is_active {
            self.disabled_at = None;
            self.disabled_reason = None;
            // After the one before, so that what ended that one does not end this one.
            self.activated_at = Some(self.activated_at.map_or(now, |it| now.max(it.next())));
        }
    }

    /// Changes where deliveries go.
    pub fn set_url(&mut self, url: &str, now: Timestamp) {
        if self.url != url {
            url.clone_into(&mut self.url);
            self.url_changed_at = Some(now);
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

    /// What its merchant decided last. Whether it is active, [`Self::is_active`] says.
    pub fn settings(&self) -> Settings<'_> {
        match &self.settings {
            Some(set) => Settings {
                url: &set.url,
                is_active: set.is_active,
                subscribed_events: &set.subscribed_events,
                updated_at: set.updated_at,
                activated_at: set.activated_at,
                url_changed_at: set.url_changed_at,
                disabled_at: set.disabled_at,
                disabled_reason: set.disabled_reason,
            },
            None => Settings {
                url: &self.created.url,
                is_active: self.created.is_active,
                subscribed_events: &self.created.subscribed_events,
                updated_at: self.created.created_at,
                activated_at: None,
                url_changed_at: None,
                disabled_at: None,
                disabled_reason: None,
            },
        }
    }

    /// Whether events are delivered: the merchant says so, and the service has not ended that.
    pub fn is_active(&self) -> bool {
        self.settings().is_active && self.disabled().is_none()
    }

    /// That the service made it inactive; `None`: it is active, or its merchant made it inactive.
    pub fn disabled(&self) -> Option<Disabled> {
        let settings = self.settings();
        if !settings.is_active {
            let (at, reason) = settings.disabled_at.zip(settings.disabled_reason)?;
            let activation = settings.activated_at;
            return Some(Disabled {
                at,
                reason,
                activation,
            });
        }
        let disabled = self.rotations.condition.disabled;
        disabled.filter(|disabled| disabled.activation >= settings.activated_at)
    }

    /// Since when its failures count: they are not held against it from before it was active, or of
    /// another URL.
    pub fn counts_since(&self) -> Timestamp {
        let settings = self.settings();
        let later = settings.activated_at.max(settings.url_changed_at);
        later.unwrap_or(self.created.created_at)
    }

    /// The failures that were found since [`Self::counts_since`], with what is known of older ones whose
    /// attempts are not kept any more.
    pub fn failures(&self, found: Failures) -> Failures {
        let known = self.rotations.condition.failing_since();
        let is_since = |since: &Timestamp| {
            let after_success = found.last_success.is_none_or(|success| success < *since);
            after_success && self.counts_since() <= *since
        };
        let known = known.filter(is_since);
        Failures {
            failing_since: known.into_iter().chain(found.failing_since).min(),
            ..found
        }
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
        let disabled = self.disabled().map(|disabled| disabled.at);
        let changes = rotated.into_iter().chain(set).chain(disabled);
        changes.fold(self.created.created_at, Timestamp::max)
    }
}

#[cfg(test)]
mod tests;
