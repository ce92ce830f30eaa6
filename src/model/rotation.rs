//! The rotations of a webhook's signing secret, as a set that merges by union.

use serde::{Deserialize, Serialize};

use super::condition::Condition;
use super::encryption::{CannotOpen, Sealed, SecretsKey};
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
    /// When it was encrypted anew after `secrets_key` was changed; `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resealed_at: Option<Timestamp>,
}

impl StoredSecret {
    /// Encrypts `secret` for the webhook.
    pub fn seal(key: &SecretsKey, webhook: WebhookId, secret: &SigningSecret) -> Self {
        Self {
            fingerprint: secret.fingerprint(),
            sealed: key.seal_secret(&webhook.to_string(), secret),
            resealed_at: None,
        }
    }

    /// The same secret under the current key; `None` when it is under it.
    fn reseal(
        &self,
        key: &SecretsKey,
        webhook: WebhookId,
        now: Timestamp,
    ) -> Result<Option<Self>, CannotOpen> {
        let renewed = key.renew(&webhook.to_string(), &self.sealed)?;
        // After the one before, also where that was made by a machine whose clock is ahead.
        let later = |before: Timestamp| Timestamp::from_millis(before.as_millis() + 1);
        Ok(renewed.map(|sealed| Self {
            fingerprint: self.fingerprint.clone(),
            sealed,
            resealed_at: Some(
                self.resealed_at
                    .map_or(now, |before| now.max(later(before))),
            ),
        }))
    }

    /// Of two encryptions of one secret, the later one.
    fn merge(&mut self, other: &Self) {
        let age = |secret: &Self| (secret.resealed_at, secret.sealed.clone());
        if age(other) > age(self) {
            *self = other.clone();
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

/// The document under `webhook-secrets/{applicationId}/{webhookId}`: the rotations, as a set, and what
/// the service found out.
///
/// Two of these merge into their union, so that rotations at the same instant do not undo each
/// other: which secret is the newest, and until when each older one lives, follows from the set. Of
/// what is encrypted twice, the later one counts, in whichever order they merge.
///
/// What the service found out merges too, and stands here because every read of a webhook reads this
/// document: one of its own would be one more operation of the store for each webhook of each event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotations {
    pub(super) rotations: Vec<Rotation>,
    /// Whether some were dropped: then the webhook's first secret is over too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) pruned: bool,
    /// The webhook's first secret, once it was encrypted anew. It stands here because the webhook's
    /// own document is written by its create only: who wrote it again could bring back a webhook
    /// that is deleted meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) first: Option<StoredSecret>,
    /// What the service found out about the webhook's endpoint.
    #[serde(default, skip_serializing_if = "Condition::is_default")]
    pub condition: Condition,
}

/// What [`Rotations::reseal`] found.
#[derive(Debug, PartialEq, Eq)]
pub struct Resealed {
    /// The rotations with each secret under the current key; `None` when they had been so.
    pub rotations: Option<Rotations>,
    /// How many secrets no key opens.
    pub unopened: usize,
}

impl Rotations {
    /// How many secrets beside the newest can be valid at a time.
    pub const MAX_OLD_SECRETS: usize = 5;

    /// Adds the rotations of `other` that are not here yet, and what else it has.
    pub fn merge(&mut self, other: &Self) {
        for rotation in &other.rotations {
            self.add(rotation.clone());
        }
        self.pruned |= other.pruned;
        if let Some(other) = &other.first {
            self.first.get_or_insert_with(|| other.clone()).merge(other);
        }
        self.condition.merge(&other.condition);
    }

    /// Whether all that `other` has is here.
    pub fn includes(&self, other: &Self) -> bool {
        let mut merged = self.clone();
        merged.merge(other);
        merged == *self
    }

    /// Encrypts anew the secrets that are under a previous key. `created_with` is the one that the
    /// webhook was created with.
    pub fn reseal(
        &self,
        key: &SecretsKey,
        webhook: WebhookId,
        created_with: &StoredSecret,
        now: Timestamp,
    ) -> Resealed {
        let (mut resealed, mut changed, mut unopened) = (self.clone(), false, 0);
        let mut renew = |secret: &StoredSecret| match secret.reseal(key, webhook, now) {
            Ok(renewed) => {
                changed |= renewed.is_some();
                renewed
            }
            Err(CannotOpen) => {
                unopened += 1;
                None
            }
        };
        if !self.pruned
            && let Some(renewed) = renew(self.first.as_ref().unwrap_or(created_with))
        {
            resealed.first = Some(renewed);
        }
        for rotation in &mut resealed.rotations {
            if let Some(renewed) = renew(&rotation.secret) {
                rotation.secret = renewed;
            }
        }
        Resealed {
            rotations: changed.then_some(resealed),
            unopened,
        }
    }

    /// Adds one rotation, unless it is here already.
    pub fn add(&mut self, rotation: Rotation) {
        let mut known = self.rotations.iter_mut();
        if let Some(known) = known.find(|known| known.id == rotation.id) {
            known.secret.merge(&rotation.secret);
        } else {
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
        if self.pruned {
            self.first = None;
        }
    }
}

/// Until when the secret before this rotation is valid.
pub(super) fn lives_until(rotation: &Rotation) -> Timestamp {
    rotation.rotated_at.plus_secs(rotation.grace_period_seconds)
}

#[cfg(test)]
mod tests {
    use base64ct::{Base64, Encoding};
    use proptest::prelude::*;

    use super::*;

    fn key(byte: u8) -> SecretsKey {
        SecretsKey::parse(&Base64::encode_string(&[byte; 32])).unwrap()
    }

    fn id(number: u8) -> WebhookId {
        WebhookId::from_random_bytes([number; 16])
    }

    /// A secret by its number, under a name that says which encryption of it this is.
    fn stored(number: u8, sealed: u8, resealed_at: Option<i64>) -> StoredSecret {
        serde_json::from_value(serde_json::json!({
            "fingerprint": number.to_string(), "sealed": sealed.to_string(),
            "resealedAt": resealed_at.map(Timestamp::from_millis),
        }))
        .unwrap()
    }

    fn any_stored(number: u8) -> impl Strategy<Value = StoredSecret> {
        (0..4_u8, prop::option::of(0..4_i64))
            .prop_map(move |(sealed, at)| stored(number, sealed, at))
    }

    fn any_rotations() -> impl Strategy<Value = Rotations> {
        let rotation = (0..5_u8).prop_flat_map(|number| {
            any_stored(number).prop_map(move |secret| Rotation {
                id: id(number),
                secret,
                rotated_at: Timestamp::from_millis(i64::from(number) % 3),
                grace_period_seconds: 60,
            })
        });
        let rotations = prop::collection::vec(rotation, 0..6);
        (rotations, prop::option::of(any_stored(9)), any::<bool>()).prop_map(
            |(rotations, first, pruned)| {
                let mut all = Rotations {
                    first,
                    pruned,
                    ..Rotations::default()
                };
                rotations.into_iter().for_each(|rotation| all.add(rotation));
                all
            },
        )
    }

    proptest! {
        /// Writers that each merge what they read with what they have end with the same, whoever
        /// wrote last: merging is commutative, associative and idempotent.
        #[test]
        fn the_order_of_merges_does_not_matter(
            a in any_rotations(), b in any_rotations(), c in any_rotations()
        ) {
            let merged = |parts: &[&Rotations]| {
                let mut all = Rotations::default();
                parts.iter().for_each(|part| all.merge(part));
                all
            };
            let all = merged(&[&a, &b, &c]);
            prop_assert_eq!(&all, &merged(&[&c, &a, &b]));
            prop_assert_eq!(&all, &merged(&[&merged(&[&b, &c]), &a]));
            prop_assert_eq!(&all, &merged(&[&all, &b]));
            for part in [&a, &b, &c] {
                prop_assert!(all.includes(part));
            }
        }
    }

    #[test]
    fn every_secret_is_resealed_once_and_what_no_key_opens_is_left() {
        let (webhook, now) = (id(1), Timestamp::from_millis(5_000));
        let seal = |key: &SecretsKey| StoredSecret::seal(key, webhook, &SigningSecret::generate());
        let rotation = |number: u8, secret: StoredSecret| Rotation {
            id: id(number),
            secret,
            rotated_at: Timestamp::from_millis(i64::from(number)),
            grace_period_seconds: 60,
        };
        let created_with = seal(&key(1));
        let mut rotations = Rotations::default();
        for (number, key) in [(2, key(1)), (3, key(2)), (4, key(9))] {
            rotations.add(rotation(number, seal(&key)));
        }

        let current = key(2).with_previous([key(1)]);
        let first = rotations.reseal(&current, webhook, &created_with, now);
        assert_eq!(first.unopened, 1);
        let resealed = first.rotations.expect("some were under the old key");
        assert!(resealed.first.as_ref().is_some_and(|first| {
            key(2)
                .open_secret(&webhook.to_string(), &first.sealed)
                .is_ok()
        }));
        assert_eq!(resealed.rotations[0].secret.resealed_at, Some(now));
        assert_eq!(resealed.rotations[1..], rotations.rotations[1..]);
        let again = resealed.reseal(&current, webhook, &created_with, now);
        assert_eq!((again.rotations, again.unopened), (None, 1));

        // Who read before and writes afterwards does not bring the old encryption back.
        let mut late = rotations.clone();
        late.merge(&resealed);
        assert_eq!(late, resealed);

        // The second change comes after the first, also on a machine whose clock is behind.
        let next = key(3).with_previous([key(2), key(1)]);
        let behind = resealed.reseal(&next, webhook, &created_with, Timestamp::from_millis(0));
        let mut merged = resealed.clone();
        merged.merge(&behind.rotations.expect("all were under older keys"));
        let left = merged.reseal(&next, webhook, &created_with, now);
        assert_eq!((left.rotations, left.unopened), (None, 1));
    }

    #[test]
    fn a_first_secret_that_is_over_is_not_resealed_and_not_kept() {
        let mut rotations = Rotations {
            pruned: true,
            first: Some(stored(9, 1, Some(1))),
            ..Rotations::default()
        };
        let current = key(2).with_previous([key(1)]);
        let created_with = StoredSecret::seal(&key(1), id(1), &SigningSecret::generate());
        let resealed = rotations.reseal(&current, id(1), &created_with, Timestamp::from_millis(0));
        assert_eq!((resealed.rotations, resealed.unopened), (None, 0));
        rotations.prune(Timestamp::from_millis(0));
        assert_eq!(rotations.first, None);
    }
}
