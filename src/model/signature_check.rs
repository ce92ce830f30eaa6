//! Why a receiver's library accepts or refuses a delivery: what support is asked most.
//!
//! An HMAC says only that something differs. What else is known of the webhook and of the event says
//! what: a secret that has ended, the body as it was sent, and the same JSON written in another way.

use std::time::Duration;

use serde::Serialize;
use serde::de::IgnoredAny;

use super::content;
use super::signature::{self, Signature};
use super::signing_secret::SigningSecret;
use super::time::Timestamp;

/// How far `webhook-timestamp` may be from the receiver's clock: as Standard Webhooks' libraries have it.
pub const TOLERANCE: Duration = Duration::from_secs(300);

/// Why a delivery does not verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(description = "Why a delivery does not verify. \
`headerMissing`: `webhook-id`, `webhook-timestamp` or `webhook-signature` did not come. \
`malformedTimestamp`: `webhook-timestamp` is no whole number. \
`malformedSignature`: `webhook-signature` has no `v1,` with the base64 of 32 bytes. \
`timestampOutsideTolerance`: `webhook-timestamp` is more than five minutes away from `receivedAt`. \
`bodyReserialized`: the body says the same as the one that was signed and is written in another way: \
verify the bytes as they came, before anything parses them. \
`bodyChanged`: the body is not the one of the event. \
`secretExpired`: the signature was made with a secret that a rotation has ended. \
`otherWebhook`: the event was not sent to this webhook. \
`eventUnknown`: the application has no event of this `webhook-id`, or has it no longer. \
`unknownSecret`: the body is the event's, and no secret of this webhook that is still kept made the \
signature for this `webhook-timestamp`. \
`signatureMismatch`: no secret of this webhook made the signature, and the event's body is not there to \
say more.")]
pub enum Reason {
    /// One of the three headers did not come.
    HeaderMissing,
    /// The timestamp is no whole number.
    MalformedTimestamp,
    /// There is no signature of version 1.
    MalformedSignature,
    /// The timestamp is further than [`TOLERANCE`] from when it was received.
    TimestampOutsideTolerance,
    /// The body was parsed and written again.
    BodyReserialized,
    /// The body is not the event's.
    BodyChanged,
    /// A secret made the signature that has ended by rotation.
    SecretExpired,
    /// The event has no delivery for the webhook.
    OtherWebhook,
    /// There is no such event.
    EventUnknown,
    /// The body is the event's, and none of the webhook's secrets made the signature.
    UnknownSecret,
    /// None of the webhook's secrets made the signature, and nothing says why.
    SignatureMismatch,
}

/// A delivery as a receiver got it.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// `webhook-id`; `None`: it did not come.
    pub id: Option<String>,
    /// `webhook-timestamp`.
    pub timestamp: Option<String>,
    /// `webhook-signature`.
    pub signature: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

/// A secret of the webhook.
#[derive(Clone, Debug)]
pub struct KnownSecret {
    /// What may be shown of it.
    pub fingerprint: String,
    /// The secret.
    pub secret: SigningSecret,
    /// Whether deliveries are signed with it.
    pub is_live: bool,
}

/// What is known of the event that `webhook-id` names.
#[derive(Clone, Copy)]
pub enum Original<'a> {
    /// It is the id of no event: of a test, or of something else.
    NoEvent,
    /// The application has no such event.
    Unknown,
    /// It has.
    Known {
        /// SHA-256 of its body, in hexadecimal digits.
        sha256: &'a str,
        /// Its body; `None`: it was erased.
        body: Option<&'a str>,
        /// Whether it was sent to the webhook.
        is_sent: bool,
    },
}

/// What a check finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// What may be shown of the secret that made the signature, if one did.
    pub secret_fingerprint: Option<String>,
    /// Why it does not verify. None: it does.
    pub reasons: Vec<Reason>,
}

/// The signature that came, ready to be compared.
struct Sent<'a> {
    id: &'a str,
    timestamp: i64,
    signatures: Vec<Signature>,
}

impl Sent<'_> {
    /// The first secret that signed this body.
    fn signer<'s>(&self, body: &[u8], secrets: &'s [KnownSecret]) -> Option<&'s KnownSecret> {
        secrets.iter().find(|known| {
            let mut signatures = self.signatures.iter();
            signatures.any(|signature| {
                let (id, timestamp) = (self.id, self.timestamp);
                signature::is_made_by(signature, id, timestamp, body, &known.secret)
            })
        })
    }
}

impl Received {
    /// Whether one of the secrets made the signature of the body as it was received: then nothing of
    /// the event is needed to check it.
    pub fn is_signed(&self, secrets: &[KnownSecret]) -> bool {
        let sent = self.sent(&mut Vec::new());
        sent.is_some_and(|sent| sent.signer(&self.body, secrets).is_some())
    }

    /// Checks the delivery. `at`: when it was received; `sha256`: of bytes, in hexadecimal digits.
    pub fn check(
        &self,
        secrets: &[KnownSecret],
        original: Original<'_>,
        at: Timestamp,
        sha256: impl Fn(&[u8]) -> String,
    ) -> Checked {
        let mut reasons = Vec::new();
        let sent = self.sent(&mut reasons);
        if let Some(timestamp) = self.seconds() {
            let sent_at = Timestamp::from_millis(timestamp.saturating_mul(1000));
            if sent_at.distance(at) > TOLERANCE {
                reasons.push(Reason::TimestampOutsideTolerance);
            }
        }
        let signer = match sent {
            Some(sent) => self.signer(&sent, secrets, original, sha256, &mut reasons),
            None => None,
        };
        if signer.is_some_and(|signer| !signer.is_live) {
            reasons.push(Reason::SecretExpired);
        }
        reasons.sort_unstable();
        Checked {
            secret_fingerprint: signer.map(|signer| signer.fingerprint.clone()),
            reasons,
        }
    }

    /// Who made the signature, of the body as it was received or of what it was made of. Notes what is
    /// wrong with the body.
    fn signer<'s>(
        &self,
        sent: &Sent<'_>,
        secrets: &'s [KnownSecret],
        original: Original<'_>,
        sha256: impl Fn(&[u8]) -> String,
        reasons: &mut Vec<Reason>,
    ) -> Option<&'s KnownSecret> {
        let body = &self.body;
        if let Some(signer) = sent.signer(body, secrets) {
            return Some(signer);
        }
        let compact = || {
            let spellings = [Strings::AsTheyAre, Strings::AsWeWrite];
            let mut compact = spellings.iter().filter_map(|as_| compact(body, *as_));
            compact.find_map(|body| sent.signer(&body, secrets))
        };
        match original {
            Original::Known {
                sha256: known,
                body: original,
                is_sent,
            } => {
                let is_same = sha256(body) == known;
                let signer = match original {
                    _ if is_same => None,
                    Some(original) => {
                        reasons.push(match content::mean_the_same(body, original.as_bytes()) {
                            true => Reason::BodyReserialized,
                            false => Reason::BodyChanged,
                        });
                        sent.signer(original.as_bytes(), secrets)
                    }
                    None => {
                        let signer = compact();
                        reasons.push(match signer {
                            Some(_) => Reason::BodyReserialized,
                            None => Reason::BodyChanged,
                        });
                        signer
                    }
                };
                match signer {
                    Some(_) => {}
                    None if !is_sent => reasons.push(Reason::OtherWebhook),
                    None if is_same || original.is_some() => reasons.push(Reason::UnknownSecret),
                    None => {}
                }
                signer
            }
            Original::Unknown | Original::NoEvent => {
                let signer = compact();
                if signer.is_some() {
                    reasons.push(Reason::BodyReserialized);
                } else {
                    if matches!(original, Original::Unknown) {
                        reasons.push(Reason::EventUnknown);
                    }
                    reasons.push(Reason::SignatureMismatch);
                }
                signer
            }
        }
    }

    fn seconds(&self) -> Option<i64> {
        let text = self.timestamp.as_deref()?;
        // What no library reads as a number: `parse` would take a plus sign.
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| digits)
    }

    /// What is to be compared. Notes what is wrong with the headers.
    fn sent(&self, reasons: &mut Vec<Reason>) -> Option<Sent<'_>> {
        if [&self.id, &self.timestamp, &self.signature].contains(&&None) {
            reasons.push(Reason::HeaderMissing);
        }
        let timestamp = self.seconds();
        if self.timestamp.is_some() && timestamp.is_none() {
            reasons.push(Reason::MalformedTimestamp);
        }
        let signatures = self.signature.as_deref().map(signature::elements);
        if signatures.as_ref().is_some_and(Vec::is_empty) {
            reasons.push(Reason::MalformedSignature);
        }
        Some(Sent {
            id: self.id.as_deref()?,
            timestamp: timestamp?,
            signatures: signatures.filter(|signatures| !signatures.is_empty())?,
        })
    }
}

/// How strings are spelled.
#[derive(Clone, Copy)]
enum Strings {
    /// As they are.
    AsTheyAre,
    /// As we write them: only what must be is escaped.
    AsWeWrite,
}

/// The JSON without white space, its members in their order and its numbers as they are spelled.
/// `None`: it is no JSON.
fn compact(json: &[u8], strings: Strings) -> Option<Vec<u8>> {
    serde_json::from_slice::<IgnoredAny>(json).ok()?;
    let mut rest = std::str::from_utf8(json).ok()?;
    let mut compact = String::with_capacity(rest.len());
    while let Some(first) = rest.chars().next() {
        let (token, after) = match first {
            '"' => rest.split_at(string_length(rest)?),
            other => rest.split_at(other.len_utf8()),
        };
        match (first, strings) {
            (' ' | '\n' | '\r' | '\t', _) => {}
            ('"', Strings::AsWeWrite) => {
                let string: String = serde_json::from_str(token).ok()?;
                compact.push_str(&serde_json::to_string(&string).ok()?);
            }
            _ => compact.push_str(token),
        }
        rest = after;
    }
    Some(compact.into_bytes())
}

/// How long the string is that `json` begins with, in bytes.
fn string_length(json: &str) -> Option<usize> {
    let mut is_escaped = false;
    for (index, byte) in json.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return Some(index + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests;
