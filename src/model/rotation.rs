//! The rotations of a webhook's signing secret, as a set that merges by union.

use serde::{Deserialize, Serialize};

use super::encryption::{Sealed, SecretsKey};
use super::ids::WebhookId;
use super::signing_secret::SigningSecret;
use super::time::Timestamp;

/// A signing secret as documents keep it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredSecret {
    /// What may be shown of it.
    pub fingerprint: String,
    /// The secret, encrypted.
    pub sealed: Sealed,
}

impl StoredSecret {
    /// Encrypts `secret` for the webhook.
    pub fn seal(key: &SecretsKey, webhook: WebhookId, secret: &SigningSecret) -> Self {
        Self {
            fingerprint: secret.fingerprint(),
            sealed: key.seal_secret(&webhook.to_string(), secret),
        }
    }
}

/// One rotation: the secret that it brought, and how long the one before it stays valid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rotation {
    /// Tells rotations apart; repeats of one rotation have the same.
    pub id: WebhookId,
    /// The new secret.
    pub secret: StoredSecret,
    /// When it was made.
    pub rotated_at: Timestamp,
    /// How long the secret before it stays valid, in seconds. 0 ends that and all earlier ones.
    pub grace_period_seconds: u32,
}

impl Rotation {
    /// Whether no earlier secret is valid any more: a merchant who rotates without grace, because of
    /// a leak, believes them all dead.
    pub(super) fn ends_all_earlier(&self) -> bool {
        self.grace_period_seconds == 0
    }
}

/// The document under `webhook-secrets/{applicationId}/{webhookId}`: the rotations, as a set.
///
/// Two of these merge into their union, so that rotations at the same instant do not undo each
/// other: which secret is the newest, and until when each older one lives, follows from the set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotations {
    pub(super) rotations: Vec<Rotation>,
    /// Whether some were dropped: then the webhook's first secret is over too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) pruned: bool,
}

impl Rotations {
    /// How many secrets beside the newest can be valid at a time.
    pub const MAX_OLD_SECRETS: usize = 5;

    /// Adds the rotations of `other` that are not here yet.
    pub fn merge(&mut self, other: &Self) {
        for rotation in &other.rotations {
            self.add(rotation.clone());
        }
        self.pruned |= other.pruned;
    }

    /// Adds one rotation, unless it is here already.
    pub fn add(&mut self, rotation: Rotation) {
        if !self.contains(rotation.id) {
            let key = |rotation: &Rotation| (rotation.rotated_at, rotation.id);
            let mut others = self.rotations.iter();
            let later = others.position(|other| key(other) > key(&rotation));
            let place = later.unwrap_or(self.rotations.len());
            self.rotations.insert(place, rotation);
        }
    }

    /// Removes the rotation `id`, as if it had never been added to `before`.
    pub fn remove_uncommitted(&mut self, id: WebhookId, before: &Self) {
        self.merge(before);
        self.rotations.retain(|rotation| rotation.id != id);
        // What was dropped meanwhile has no effect, or is dropped again by the next rotation.
        self.pruned = before.pruned;
    }

    /// Whether the rotation is here.
    pub fn contains(&self, id: WebhookId) -> bool {
        self.rotations.iter().any(|rotation| rotation.id == id)
    }

    /// The rotation that brought the newest secret.
    pub fn newest(&self) -> Option<&Rotation> {
        self.rotations.last()
    }

    /// When a rotation is made that follows all of these: `now`, but after them, also where another
    /// machine's clock is ahead.
    pub fn next_at(&self, now: Timestamp) -> Timestamp {
        self.newest()
            .map_or(now, |newest| now.max(newest.rotated_at.next()))
    }

    /// Drops what has no effect any more at `now`.
    pub fn prune(&mut self, now: Timestamp) {
        let end = self.rotations.iter().rposition(Rotation::ends_all_earlier);
        if let Some(without_effect) = end.filter(|count| *count > 0) {
            self.rotations.drain(..without_effect);
            self.pruned = true;
        }
        // The oldest goes once its secret and the one before it are over.
        while let [oldest, next, ..] = &self.rotations[..]
            && (self.rotations.len() > Self::MAX_OLD_SECRETS + 1
                || (lives_until(oldest) <= now && lives_until(next) <= now))
        {
            self.rotations.remove(0);
            self.pruned = true;
        }
    }
}

/// Until when the secret before this rotation is valid.
pub(super) fn lives_until(rotation: &Rotation) -> Timestamp {
    rotation.rotated_at.plus_secs(rotation.grace_period_seconds)
}
