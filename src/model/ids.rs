//! The ids that name things in paths, tokens and keys of the store.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::random;
use super::time::Timestamp;

/// A webhook's id: a UUID, version 4 for those with random ids.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(transparent)]
#[schema(
    description = "A UUID in its usual form of 36 characters.",
    value_type = String, format = Uuid, examples("8a1c2f9e-3d4b-4f5a-9b6c-7d8e9f0a1b2c"),
)]
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

/// An application's id: 1 to 128 characters of `A`–`Z`, `a`–`z`, `0`–`9`, `-`, `_`, `.` and
/// `~` (RFC 3986's unreserved characters), and not only dots.
///
/// Ours are UUIDs; whoever writes `application/{id}` into the store by hand may use others.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(try_from = "String")]
#[schema(
    description = "1 to 128 letters, digits, `-`, `_`, `.` or `~`, and not only dots.",
    min_length = 1,
    max_length = 128,
    pattern = "^[A-Za-z0-9._~-]*[A-Za-z0-9_~-][A-Za-z0-9._~-]*$",
    examples("c1f4a7de-52b0-4c39-8f6e-0d9b3a5e7f21")
)]
pub struct ApplicationId(String);

impl TryFrom<String> for ApplicationId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("not an application's id")
    }
}

impl ApplicationId {
    /// Longest id, in characters.
    pub const MAX_LENGTH: usize = 128;

    /// A new random id, a UUID.
    pub fn generate() -> Self {
        Self(uuid::Uuid::new_v4().to_string())
    }

    /// The id, if `text` is one.
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
        let valid = (1..=Self::MAX_LENGTH).contains(&text.len())
            && text.bytes().all(allowed)
            && text.bytes().any(|byte| byte != b'.');
        valid.then(|| Self(text.to_owned()))
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<WebhookId> for ApplicationId {
    /// The same UUID, as the id of an application.
    fn from(id: WebhookId) -> Self {
        Self(id.to_string())
    }
}

impl std::fmt::Display for ApplicationId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// An event's id: `evt_` and a UUID of version 7 without hyphens, 36 characters in all.
///
/// Ids sort by the time of their events, as text too. It is also the `webhook-id` of the event's
/// deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
#[derive(utoipa::ToSchema)]
#[schema(
    description = "`evt_` and a UUID of version 7 without hyphens: ids sort by time.",
    value_type = String, min_length = 36, max_length = 36, pattern = "^evt_[0-9a-f]{12}7[0-9a-f]{19}$",
    examples("evt_019abd5a6f407c2e8d3b9f0a1b2c3d4e"),
)]
pub struct EventId(Uuid);

impl EventId {
    const PREFIX: &str = "evt_";

    /// A new id of an event that is made at `now`.
    pub fn generate(now: Timestamp) -> Self {
        Self::with_bytes(now, &random::bytes())
    }

    /// The least id of an event of that moment: ids that sort before it are of earlier events.
    pub fn first_at(moment: Timestamp) -> Self {
        Self::with_bytes(moment, &[0; 10])
    }

    /// The greatest id of an event of the moment before: those that sort after it are of that moment or
    /// later.
    pub fn last_before(moment: Timestamp) -> Self {
        let before = Timestamp::from_millis(moment.as_millis().saturating_sub(1));
        Self::with_bytes(before, &[0xff; 10])
    }

    fn with_bytes(moment: Timestamp, bytes: &[u8; 10]) -> Self {
        Self(version_7(moment, bytes))
    }

    /// When its event was published.
    pub fn published_at(&self) -> Timestamp {
        let [a, b, c, d, e, f, ..] = *self.0.as_bytes();
        Timestamp::from_millis(i64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }

    /// The id, if `text` is one as we write it.
    pub fn parse(text: &str) -> Option<Self> {
        version_7_after(Self::PREFIX, text).map(Self)
    }

    /// The id without its prefix, as 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The id that has these bytes, if they are of one.
    pub fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        let id = Uuid::from_bytes(bytes);
        (id.get_version_num() == 7).then_some(Self(id))
    }
}

impl std::fmt::Display for EventId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", Self::PREFIX, self.0.simple())
    }
}

impl From<EventId> for String {
    fn from(id: EventId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for EventId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("not an event's id")
    }
}

/// The UUID of version 7 that is made at `moment` (RFC 9562 §5.7).
fn version_7(moment: Timestamp, bytes: &[u8; 10]) -> Uuid {
    // The field has 48 bits: until the year 10889.
    let millis = moment.as_millis().clamp(0, (1 << 48) - 1).unsigned_abs();
    uuid::Builder::from_unix_timestamp_millis(millis, bytes).into_uuid()
}

/// The UUID of version 7 that `text` has after its prefix, if it is as we write it: 32 hexadecimal
/// digits in lower case.
fn version_7_after(prefix: &str, text: &str) -> Option<Uuid> {
    let digits = text.strip_prefix(prefix)?;
    let id = Uuid::try_parse(digits).ok()?;
    (id.get_version_num() == 7 && id.simple().to_string() == digits).then_some(id)
}

/// A recovery's id: `rec_` and a UUID of version 7 without hyphens, 36 characters in all. Ids sort by
/// the time of their recoveries, as text too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
#[derive(utoipa::ToSchema)]
#[schema(
    description = "`rec_` and a UUID of version 7 without hyphens: ids sort by time.",
    value_type = String, min_length = 36, max_length = 36, pattern = "^rec_[0-9a-f]{12}7[0-9a-f]{19}$",
    examples("rec_019abd5a6f407c2e8d3b9f0a1b2c3d4e"),
)]
pub struct RecoveryId(Uuid);

impl RecoveryId {
    const PREFIX: &str = "rec_";

    /// A new id of a recovery that is begun at `now`.
    pub fn generate(now: Timestamp) -> Self {
        Self(version_7(now, &random::bytes()))
    }

    /// The least id of a recovery of that moment.
    pub fn first_at(moment: Timestamp) -> Self {
        Self(version_7(moment, &[0; 10]))
    }

    /// The id, if `text` is one as we write it.
    pub fn parse(text: &str) -> Option<Self> {
        version_7_after(Self::PREFIX, text).map(Self)
    }
}

impl std::fmt::Display for RecoveryId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", Self::PREFIX, self.0.simple())
    }
}

impl From<RecoveryId> for String {
    fn from(id: RecoveryId) -> Self {
        id.to_string()
    }
}

/// A merchant's id as tokens name it: a non-empty string.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct MerchantId(String);

impl TryFrom<String> for MerchantId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("a merchant's id must not be empty")
    }
}

impl MerchantId {
    /// The id, if `text` is one.
    pub fn parse(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
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
    fn an_events_id_is_a_uuid_of_version_7_that_sorts_by_time() {
        let early = Timestamp::from_millis(1_768_464_000_000);
        let (first, id) = (EventId::first_at(early), EventId::generate(early));
        let later = EventId::generate(early.next());
        assert!(first <= id && id < EventId::first_at(early.next()) && id < later);
        let before = EventId::last_before(early);
        assert!(before < first && EventId::last_before(early.next()) > id);
        assert_eq!(EventId::parse(&before.to_string()), Some(before));
        assert_eq!(
            (id.published_at(), later.published_at()),
            (early, early.next())
        );
        assert!(id.to_string() < later.to_string());
        let text = id.to_string();
        assert_eq!((text.len(), &text[..4], &text[16..17]), (36, "evt_", "7"));
        assert_eq!(EventId::parse(&text), Some(id));
        assert_eq!(EventId::from_bytes(*id.as_bytes()), Some(id));
        let document = serde_json::to_string(&id).unwrap();
        assert_eq!(document, format!("\"{text}\""));
        assert_eq!(serde_json::from_str::<EventId>(&document).unwrap(), id);
        let other_version = format!("evt_{}", Uuid::new_v4().simple());
        for bad in [
            "",
            "evt_",
            &text[4..],
            &text.to_uppercase(),
            &text.replace("evt_", "msg_"),
            &format!("{text}0"),
            &other_version,
            &format!("evt_{}", id.0),
        ] {
            assert!(EventId::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_recoverys_id_is_written_as_an_events_with_another_prefix() {
        let now = Timestamp::from_millis(1_768_464_000_000);
        let (first, id) = (RecoveryId::first_at(now), RecoveryId::generate(now));
        assert!(first <= id && id < RecoveryId::first_at(now.next()));
        let text = id.to_string();
        assert_eq!(RecoveryId::parse(&text), Some(id));
        assert_eq!(text.len(), 36);
        for bad in [
            "",
            "rec_",
            &text.replace("rec_", "evt_"),
            &text.to_uppercase(),
        ] {
            assert!(RecoveryId::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn an_id_has_only_unreserved_characters() {
        for good in ["a", "example_string", "a.b~c-D_9", &"x".repeat(128)] {
            let id = ApplicationId::parse(good).expect(good);
            let document = serde_json::to_string(&id).unwrap();
            assert_eq!(document, format!("\"{good}\""));
            assert_eq!(
                serde_json::from_str::<ApplicationId>(&document).unwrap(),
                id
            );
        }
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a b",
            "a%2Fb",
            "é",
            "a\0",
            &"x".repeat(129),
        ] {
            assert!(ApplicationId::parse(bad).is_none(), "{bad}");
            let document = serde_json::to_string(bad).unwrap();
            assert!(serde_json::from_str::<ApplicationId>(&document).is_err());
        }
    }
}
