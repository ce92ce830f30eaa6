//! What a webhook is: its id, its URL, the events it is subscribed to.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::application::ApplicationId;
use crate::clock::Timestamp;
pub use crate::endpoint_url::{EndpointUrl, UrlError};
use crate::random;
use crate::secret::{Sealed, SecretsKey, SigningSecret};

/// A webhook's id: a UUID, version 4 for those with random ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(
    description = "A UUID in its usual form of 36 characters.",
    value_type = String, format = Uuid, examples("8a1c2f9e-3d4b-4f5a-9b6c-7d8e9f0a1b2c"),
))]
pub struct WebhookId(Uuid);

impl WebhookId {
    /// A new random id.
    pub fn generate() -> Self {
        Self::from_random_bytes(random::bytes())
    }

    /// The version 4 id of 16 random bytes (RFC 9562 §5.4).
    pub fn from_random_bytes(bytes: [u8; 16]) -> Self {
        Self(uuid::Builder::from_random_bytes(bytes).into_uuid())
    }

    /// The id, if `text` is a UUID in its usual form of 36 characters.
    pub fn parse(text: &str) -> Option<Self> {
        let uuid = Uuid::try_parse(text).ok()?;
        (text.len() == 36).then_some(Self(uuid))
    }
}

impl std::fmt::Display for WebhookId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of an event: 1 to 128 letters, digits, `.`, `_` or `-`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(
    feature = "openapi",
    derive(utoipa::ToSchema),
    schema(
        description = "The name of an event: 1 to 128 letters, digits, `.`, `_` or `-`. Which events there \
        are is the platform's decision; unless it says otherwise, they are `session.completed` and \
        `session.expired`.",
        min_length = 1,
        max_length = 128,
        pattern = "^[A-Za-z0-9._-]+$",
        examples("session.completed", "session.expired"),
    )
)]
pub struct EventType(String);

impl EventType {
    /// The event type, if `text` can be the name of one.
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let valid = (1..=128).contains(&text.len()) && text.bytes().all(allowed);
        valid.then(|| Self(text.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The document under `webhook/{applicationId}/{webhookId}`: the webhook as it was created.
///
/// Written once, by the request that creates the webhook; what changes later is kept under
/// other keys, so that nobody who changes a webhook can bring back one that was deleted.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Created {
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
    /// The events it is subscribed to, in the merchant's order.
    pub subscribed_events: Vec<EventType>,
    /// The signing secret it was created with.
    pub secret: StoredSecret,
    /// When it was created.
    pub created_at: Timestamp,
}

impl Created {
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
pub struct Settings {
    /// Where deliveries go.
    pub url: String,
    /// Whether events are delivered.
    pub is_active: bool,
    /// The events it is subscribed to.
    pub subscribed_events: Vec<EventType>,
    /// When this was changed.
    pub updated_at: Timestamp,
}

/// How a test delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
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
    /// How long the secret before it stays valid, in seconds.
    pub grace_period_seconds: u32,
}

/// The document under `webhook-secrets/{applicationId}/{webhookId}`: the rotations, as a set.
///
/// Two of these merge into their union, so that rotations at the same instant do not undo each
/// other: which secret is the newest, and until when each older one lives, follows from the set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotations {
    rotations: Vec<Rotation>,
    /// Whether some were dropped: then the webhook's first secret is over too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pruned: bool,
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
    pub fn take_back(&mut self, id: WebhookId, before: &Self) {
        self.merge(before);
        self.rotations.retain(|rotation| rotation.id != id);
        // What was dropped meanwhile has no effect, or is dropped again by the next rotation.
        self.pruned = before.pruned;
    }

    /// Whether the rotation is here.
    pub fn contains(&self, id: WebhookId) -> bool {
        self.rotations.iter().any(|rotation| rotation.id == id)
    }

    /// Drops what has no effect any more at `now`.
    pub fn prune(&mut self, now: Timestamp) {
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
fn lives_until(rotation: &Rotation) -> Timestamp {
    rotation.rotated_at.plus_secs(rotation.grace_period_seconds)
}

/// A webhook as it is now: what was created, with all that changed since.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// As it was created.
    pub created: Created,
    /// What the merchant changed last.
    pub settings: Option<Settings>,
    /// The rotations of its secret.
    pub rotations: Rotations,
    /// Its last test delivery.
    pub last_test: Option<LastTest>,
}

impl Webhook {
    /// A webhook that was created just now.
    pub fn new(created: Created) -> Self {
        Self {
            created,
            settings: None,
            rotations: Rotations::default(),
            last_test: None,
        }
    }

    /// Its settings as they are now.
    pub fn settings(&self) -> Settings {
        self.settings.clone().unwrap_or_else(|| Settings {
            url: self.created.url.clone(),
            is_active: self.created.is_active,
            subscribed_events: self.created.subscribed_events.clone(),
            updated_at: self.created.created_at,
        })
    }

    /// The newest secret: the one that is shown by its fingerprint.
    pub fn newest_secret(&self) -> &StoredSecret {
        let newest = self.rotations.rotations.last();
        newest.map_or(&self.created.secret, |rotation| &rotation.secret)
    }

    /// The secrets that deliveries are signed with at `now`, the newest first.
    pub fn live_secrets(&self, now: Timestamp) -> Vec<&StoredSecret> {
        let mut live = Vec::new();
        let mut next: Option<&Rotation> = None;
        for rotation in self.rotations.rotations.iter().rev() {
            if next.is_none_or(|next| lives_until(next) > now) {
                live.push(&rotation.secret);
            }
            next = Some(rotation);
        }
        if !self.rotations.pruned && next.is_none_or(|next| lives_until(next) > now) {
            live.push(&self.created.secret);
        }
        live.truncate(Rotations::MAX_OLD_SECRETS + 1);
        live
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
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_uuid_of_version_4() {
        let id = WebhookId::generate().to_string();
        assert_eq!(id.len(), 36);
        assert_eq!(&id[14..15], "4");
        assert_eq!(WebhookId::parse(&id).unwrap().to_string(), id);
        for bad in [
            "",
            "x",
            &id[1..],
            &format!("{{{id}}}"),
            &id.replace('-', ""),
        ] {
            assert!(WebhookId::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn an_event_type_is_a_plain_name() {
        for good in ["session.completed", "a", "A_b-9"] {
            assert!(EventType::parse(good).is_some(), "{good}");
        }
        for bad in ["", "a b", "a,b", "é", &"x".repeat(129)] {
            assert!(EventType::parse(bad).is_none(), "{bad}");
        }
    }

    fn stored(name: &str) -> StoredSecret {
        serde_json::from_value(serde_json::json!({"fingerprint": name, "sealed": "x"})).unwrap()
    }

    fn webhook() -> Webhook {
        Webhook::new(Created {
            v: Created::VERSION,
            id: WebhookId::generate(),
            application_id: None,
            url: "https://example.com/".to_owned(),
            is_active: true,
            subscribed_events: Vec::new(),
            secret: stored("0"),
            created_at: Timestamp::from_millis(0),
        })
    }

    fn rotation(name: &str, at_secs: i64, grace: u32) -> Rotation {
        Rotation {
            id: WebhookId::generate(),
            secret: stored(name),
            rotated_at: Timestamp::from_millis(at_secs * 1000),
            grace_period_seconds: grace,
        }
    }

    fn live(webhook: &Webhook, at_secs: i64) -> Vec<&str> {
        webhook
            .live_secrets(Timestamp::from_millis(at_secs * 1000))
            .iter()
            .map(|secret| secret.fingerprint.as_str())
            .collect()
    }

    #[test]
    fn an_old_secret_lives_until_the_grace_period_that_replaced_it_ends() {
        let mut webhook = webhook();
        assert_eq!(live(&webhook, 5), ["0"]);
        webhook.rotations.add(rotation("1", 10, 100));
        assert_eq!(live(&webhook, 10), ["1", "0"]);
        assert_eq!(live(&webhook, 109), ["1", "0"]);
        assert_eq!(live(&webhook, 110), ["1"]);
        webhook.rotations.add(rotation("2", 20, 0));
        assert_eq!(live(&webhook, 20), ["2", "0"]);
        assert_eq!(live(&webhook, 110), ["2"]);
    }

    #[test]
    fn pruning_changes_no_answer() {
        for now in [0, 10, 20, 25, 31, 60, 111, 500] {
            let mut webhook = webhook();
            for (name, at, grace) in [("1", 10, 100), ("2", 20, 5), ("3", 30, 0), ("4", 31, 90)] {
                if at <= now {
                    webhook.rotations.add(rotation(name, at, grace));
                }
            }
            let before: Vec<String> = live(&webhook, now)
                .iter()
                .map(|s| (*s).to_owned())
                .collect();
            webhook.rotations.prune(Timestamp::from_millis(now * 1000));
            assert_eq!(live(&webhook, now), before, "at {now}");
            assert!(live(&webhook, 10_000).len() == 1);
        }
    }

    #[test]
    fn at_most_five_old_secrets_live() {
        let mut webhook = webhook();
        for number in 1..=9 {
            webhook
                .rotations
                .add(rotation(&number.to_string(), number, 1000));
            webhook
                .rotations
                .prune(Timestamp::from_millis(number * 1000));
        }
        assert_eq!(live(&webhook, 10), ["9", "8", "7", "6", "5", "4"]);
    }

    #[test]
    fn a_rotation_that_is_taken_back_leaves_the_secrets_as_they_were() {
        let mut webhook = webhook();
        for number in 1..=5 {
            webhook
                .rotations
                .add(rotation(&number.to_string(), number, 1000));
        }
        let before = webhook.rotations.clone();
        assert_eq!(live(&webhook, 10), ["5", "4", "3", "2", "1", "0"]);
        // Two fail one after the other; each drops the oldest secret.
        let failed = [rotation("x", 11, 0), rotation("y", 12, 0)];
        for rotation in &failed {
            webhook.rotations.add(rotation.clone());
            webhook.rotations.prune(Timestamp::from_millis(12_000));
        }
        assert_eq!(live(&webhook, 12)[0], "y");
        for rotation in &failed {
            webhook.rotations.take_back(rotation.id, &before);
        }
        assert_eq!(webhook.rotations, before);
        assert_eq!(live(&webhook, 12), ["5", "4", "3", "2", "1", "0"]);
    }

    #[test]
    fn rotations_merge_into_their_union_in_any_order() {
        let (a, b) = (rotation("a", 10, 60), rotation("b", 10, 60));
        let with = |list: &[&Rotation]| {
            let mut rotations = Rotations::default();
            for rotation in list {
                rotations.add((*rotation).clone());
            }
            rotations
        };
        let mut one = with(&[&a]);
        one.merge(&with(&[&b]));
        let mut two = with(&[&b, &a]);
        two.merge(&with(&[&a]));
        assert_eq!(one, two);
    }
}
