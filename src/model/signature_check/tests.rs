//! Each reason, and what must hold for whatever is sent.

use proptest::prelude::*;

use super::*;

const ID: &str = "evt_019abd5a6f407c2e8d3b9f0a1b2c3d4e";
const BODY: &str =
    r#"{"type":"a.b","timestamp":"2026-01-15T08:00:00.000Z","data":{"z":1,"name":"Zoë","n":1e3}}"#;
const SECONDS: i64 = 1_768_464_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis((SECONDS + seconds) * 1000)
}

fn secret(number: u8, is_live: bool) -> KnownSecret {
    KnownSecret {
        fingerprint: format!("secret {number}"),
        secret: SigningSecret::from_bytes([number; SigningSecret::BYTES]),
        is_live,
    }
}

/// The webhook's: one live, one that has ended.
fn secrets() -> [KnownSecret; 2] {
    [secret(1, true), secret(2, false)]
}

/// What stands for the digest of a body here: the body itself.
fn digest(body: &[u8]) -> String {
    String::from_utf8_lossy(body).into_owned()
}

fn received(signed: &str, by: u8, body: &str) -> Received {
    let signature = signature::element(ID, SECONDS, signed.as_bytes(), &secret(by, true).secret);
    Received {
        id: Some(ID.to_owned()),
        timestamp: Some(SECONDS.to_string()),
        signature: Some(signature),
        body: body.as_bytes().to_owned(),
    }
}

fn known(body: Option<&str>, is_sent: bool) -> Original<'_> {
    let sha256 = BODY;
    Original::Known {
        sha256,
        body,
        is_sent,
    }
}

fn check(received: &Received, original: Original<'_>, seconds: i64) -> Checked {
    received.check(&secrets(), original, at(seconds), digest)
}

fn finds(received: &Received, original: Original<'_>, signer: Option<u8>, reasons: &[Reason]) {
    let checked = check(received, original, 0);
    assert_eq!(checked.reasons, reasons);
    let fingerprint = signer.map(|number| format!("secret {number}"));
    assert_eq!(checked.secret_fingerprint, fingerprint);
}

const EVENT: Original<'static> = Original::Known {
    sha256: BODY,
    body: Some(BODY),
    is_sent: true,
};

#[test]
fn what_was_sent_verifies_with_a_live_secret_within_five_minutes() {
    let sent = received(BODY, 1, BODY);
    for original in [EVENT, Original::Unknown, Original::NoEvent] {
        finds(&sent, original, Some(1), &[]);
    }
    for (seconds, reasons) in [
        (-301, &[Reason::TimestampOutsideTolerance][..]),
        (-300, &[]),
        (300, &[]),
        (301, &[Reason::TimestampOutsideTolerance]),
    ] {
        let checked = check(&sent, EVENT, seconds);
        assert_eq!(checked.reasons, reasons, "{seconds}");
    }
}

#[test]
fn a_secret_that_has_ended_is_named() {
    let sent = received(BODY, 2, BODY);
    assert!(sent.is_signed(&secrets()));
    finds(&sent, EVENT, Some(2), &[Reason::SecretExpired]);
    // Of two signatures, one of each secret, the live one counts.
    let mut both = received(BODY, 1, BODY);
    let signatures = [sent.signature, both.signature].map(Option::unwrap_or_default);
    both.signature = Some(signatures.join(" "));
    finds(&both, EVENT, Some(1), &[]);
}

#[test]
fn the_same_json_written_in_another_way_is_told_from_other_json() {
    let pretty = r#"{ "type": "a.b", "timestamp": "2026-01-15T08:00:00.000Z",
        "data": { "z": 1, "name": "Zo\u00eb", "n": 1e3 } }"#;
    let sorted = r#"{"data":{"n":1000.0,"name":"Zoë","z":1},"timestamp":"2026-01-15T08:00:00.000Z","type":"a.b"}"#;
    let other = BODY.replace("1e3", "1001");
    let reserialized = &[Reason::BodyReserialized][..];
    for original in [
        EVENT,
        known(None, true),
        Original::Unknown,
        Original::NoEvent,
    ] {
        finds(&received(BODY, 1, pretty), original, Some(1), reserialized);
    }
    // The event's body knows more than its signature.
    finds(&received(BODY, 1, sorted), EVENT, Some(1), reserialized);
    finds(
        &received(BODY, 1, &other),
        EVENT,
        Some(1),
        &[Reason::BodyChanged],
    );
    let nothing_is_left = [Reason::BodyChanged];
    for body in [sorted, &other] {
        finds(
            &received(BODY, 1, body),
            known(None, true),
            None,
            &nothing_is_left,
        );
        let unknown = [Reason::EventUnknown, Reason::SignatureMismatch];
        finds(&received(BODY, 1, body), Original::Unknown, None, &unknown);
        let mismatch = [Reason::SignatureMismatch];
        finds(&received(BODY, 1, body), Original::NoEvent, None, &mismatch);
    }
    let ended = [Reason::BodyReserialized, Reason::SecretExpired];
    finds(&received(BODY, 2, pretty), EVENT, Some(2), &ended);
}

#[test]
fn another_secret_is_told_from_another_body_where_the_event_is_known() {
    let sent = received(BODY, 3, BODY);
    assert!(!sent.is_signed(&secrets()));
    finds(&sent, EVENT, None, &[Reason::UnknownSecret]);
    finds(&sent, known(None, true), None, &[Reason::UnknownSecret]);
    finds(
        &sent,
        known(Some(BODY), false),
        None,
        &[Reason::OtherWebhook],
    );
    let changed = received(BODY, 3, "{}");
    let both = [Reason::BodyChanged, Reason::UnknownSecret];
    finds(&changed, EVENT, None, &both);
    let mut later = received(BODY, 1, BODY);
    later.timestamp = Some((SECONDS + 1).to_string());
    finds(&later, EVENT, None, &[Reason::UnknownSecret]);
}

#[test]
fn headers_that_lack_or_are_malformed_are_all_named() {
    use Reason::{HeaderMissing, MalformedSignature, MalformedTimestamp};

    let nothing = Received::default();
    finds(&nothing, EVENT, None, &[HeaderMissing]);
    let good = received(BODY, 1, BODY);
    let wrong = Received {
        id: None,
        timestamp: Some("now".to_owned()),
        signature: Some("v1,AAAA v1a,abc".to_owned()),
        ..good.clone()
    };
    let all = [HeaderMissing, MalformedTimestamp, MalformedSignature];
    finds(&wrong, EVENT, None, &all);
    for timestamp in ["", "+1", "-1", "1.5", "0x1", "99999999999999999999"] {
        let timestamp = Some(timestamp.to_owned());
        let wrong = Received {
            timestamp,
            ..good.clone()
        };
        finds(&wrong, EVENT, None, &[MalformedTimestamp]);
    }
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        any::<String>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        Just(serde_json::Value::Null),
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..4).prop_map(|members| members
                .into_iter()
                .collect::<serde_json::Map<_, _>>()
                .into()),
        ]
    })
}

proptest! {
    /// Whatever is sent, there is an answer, and `valid` is said only of what a live secret signed.
    #[test]
    fn nothing_panics_and_nothing_unsigned_is_valid(
        id in prop::option::of(".*"), timestamp in prop::option::of(".*|[0-9]{1,25}"),
        signature in prop::option::of(".*|v1,[A-Za-z0-9+/]{43}="),
        body in prop::collection::vec(any::<u8>(), 0..64), text in ".*",
        which in 0..4_usize,
    ) {
        let original = [EVENT, known(None, false), Original::Unknown, Original::NoEvent][which];
        for body in [body, text.into_bytes()] {
            let received = Received {
                id: id.clone(), timestamp: timestamp.clone(), signature: signature.clone(), body,
            };
            let checked = received.check(&secrets(), original, at(0), digest);
            prop_assert!(!checked.reasons.is_empty());
            prop_assert_eq!(checked.secret_fingerprint, None);
        }
    }

    /// However JSON is laid out, its compact form is the one that was signed.
    #[test]
    fn json_that_is_laid_out_anew_is_reserialized(value in json()) {
        let signed = serde_json::to_string(&value).unwrap();
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        for strings in [Strings::AsTheyAre, Strings::AsWeWrite] {
            let compact = compact(pretty.as_bytes(), strings).unwrap();
            prop_assert_eq!(String::from_utf8(compact).unwrap(), signed.as_str());
        }
        let found = check(&received(&signed, 1, &pretty), Original::NoEvent, 0);
        let reasons = if pretty == signed { vec![] } else { vec![Reason::BodyReserialized] };
        prop_assert_eq!(found.reasons, reasons);
    }
}
