//! Which sets are read, which of their keys are used, and what they verify.

use super::*;
use serde_json::json;

/// Keys, and tokens that Python's `cryptography` signed with them.
fn fixtures() -> Value {
    let text = include_str!("../../../tests/http/support/test-keys.json");
    serde_json::from_str(text).unwrap()
}

fn public(name: &str) -> Value {
    let mut jwk = fixtures()["keys"][name].clone();
    for private in ["d", "p", "q", "dp", "dq", "qi"] {
        jwk.as_object_mut().unwrap().remove(private);
    }
    jwk
}

fn verify(keys: &[Value], token: &str) -> Verification {
    let json = json!({ "keys": keys }).to_string();
    let keys = KeySet::parse(&json).unwrap_or_else(|why| panic!("{json} {why}"));
    keys.verify(&Jws::parse(token).unwrap())
}

fn token_of_another_implementation(alg: &str) -> String {
    let token = &fixtures()["tokensOfAnotherImplementation"][alg];
    token.as_str().unwrap().to_owned()
}

/// A token with this header, signed with the key of this name of the fixtures.
fn eddsa_token(header: &Value) -> String {
    let jwk: JsonWebKey<'_> = serde_json::from_value(fixtures()["keys"]["eddsa"].clone()).unwrap();
    let key = <Ed25519 as Algorithm>::SigningKey::try_from(&jwk).unwrap();
    let part = |text: &[u8]| Base64UrlUnpadded::encode_string(text);
    let signed = format!("{}.{}", part(header.to_string().as_bytes()), part(b"{}"));
    let signature = Ed25519.sign(&key, signed.as_bytes());
    format!("{signed}.{}", part(&signature.to_bytes()))
}

/// The JWK with each of its texts in these members decoded, changed and encoded.
fn changed(mut jwk: Value, members: &[&str], change: impl Fn(Vec<u8>) -> Vec<u8>) -> Value {
    for member in members {
        let bytes = Base64UrlUnpadded::decode_vec(jwk[member].as_str().unwrap()).unwrap();
        jwk[member] = json!(Base64UrlUnpadded::encode_string(&change(bytes)));
    }
    jwk
}

fn unsuitable(jwk: &Value) -> Unsuitable {
    match Key::from_jwk(jwk) {
        Ok(_) => panic!("{jwk} was accepted"),
        Err(why) => why,
    }
}

#[test]
fn keys_for_another_use_are_left_out() {
    let k = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE";
    for jwk in [
        json!({"kty": "oct", "k": k, "use": "enc"}),
        json!({"kty": "oct", "k": k, "alg": "HS512"}),
        json!({"kty": "oct", "k": k, "key_ops": ["sign"]}),
        json!({"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"}),
        json!({"kty": "OKP", "crv": "X25519", "x": "AA"}),
        json!({"kty": "OKP", "crv": "Ed448", "alg": "Ed448", "x": "AA"}),
        json!({"kty": "quantum"}),
        json!({"kty": null}),
        json!({"kty": "AKP", "alg": "ML-DSA-44", "use": 1}),
        json!("not an object"),
    ] {
        assert!(matches!(unsuitable(&jwk), Unsuitable::NotForUs(_)), "{jwk}");
    }
}

#[test]
fn weak_and_broken_keys_are_refused() {
    let large = Base64UrlUnpadded::encode_string(&[0xff; 513]);
    let mut numbered = public("eddsa");
    numbered["kid"] = json!(1);
    for jwk in [
        json!({"kty": "oct", "k": "c2hvcnQ"}),
        json!({"kty": "oct"}),
        json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"}),
        json!({"kty": "RSA", "n": large, "e": "AQAB"}),
        json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}),
        json!({"kty": "OKP", "crv": "Ed25519", "x": "AA"}),
        // No number, so no zero may be added.
        changed(public("eddsa"), &["x"], |x| [vec![0], x].concat()),
        changed(public("es256"), &["x"], |x| [vec![1], x].concat()),
        json!({"kty": "oct", "use": ["sig"]}),
        json!({"kty": "oct", "key_ops": "verify"}),
        numbered,
    ] {
        assert!(matches!(unsuitable(&jwk), Unsuitable::Refused(_)), "{jwk}");
    }
}

#[test]
fn a_key_is_read_where_its_meaning_is_clear() {
    let zero_first = |bytes: Vec<u8>| [vec![0], bytes].concat();
    for (name, alg, members) in [
        ("hs256", "HS256", ["k"].as_slice()),
        ("rs256", "RS256", &["n", "e"]),
        ("es256", "ES256", &["x", "y"]),
        ("eddsa", "EdDSA", &["x"]),
    ] {
        let token = token_of_another_implementation(alg);
        let verified = |jwk: Value| {
            assert_eq!(
                verify(std::slice::from_ref(&jwk), &token),
                Verification::Verified,
                "{jwk}"
            );
        };
        verified(public(name));
        let mut padded = public(name);
        for member in members {
            let text = padded[member].as_str().unwrap();
            padded[member] = json!(format!("{text}{}", "=".repeat((4 - text.len() % 4) % 4)));
        }
        verified(padded);
        if ["rs256", "es256"].contains(&name) {
            verified(changed(public(name), members, zero_first));
        }
        let mut nulls = public(name);
        for member in ["use", "key_ops", "alg", "kid", "d", "x5c", "x5t", "exp"] {
            nulls[member] = Value::Null;
        }
        verified(nulls);
    }
}

/// One key in 128 has such a coordinate.
#[test]
fn a_coordinate_may_lack_its_leading_zeros() {
    type SigningKey = <Es256 as Algorithm>::SigningKey;
    let (key, point) = (1_u32..)
        .filter_map(|number| {
            let scalar = [[0; 28].as_slice(), &number.to_be_bytes()].concat();
            let key = SigningKey::from_slice(&scalar).ok()?;
            let point = key.verifying_key().to_encoded_point(false);
            Some((key, point))
        })
        .find(|(_, point)| point.x().unwrap()[0] == 0 || point.y().unwrap()[0] == 0)
        .unwrap();
    let short = |coordinate: &[u8]| {
        let zeros = coordinate.iter().take_while(|byte| **byte == 0).count();
        Base64UrlUnpadded::encode_string(&coordinate[zeros..])
    };
    let jwk = json!({
        "kty": "EC", "crv": "P-256",
        "x": short(point.x().unwrap()), "y": short(point.y().unwrap()),
    });
    let header = Base64UrlUnpadded::encode_string(br#"{"alg":"ES256"}"#);
    let signed = format!("{header}.e30");
    let signature = Es256.sign(&key, signed.as_bytes());
    let signature = AlgorithmSignature::as_bytes(&signature);
    let token = format!("{signed}.{}", Base64UrlUnpadded::encode_string(&signature));
    assert_eq!(verify(&[jwk], &token), Verification::Verified);
}

/// RFC 9864 §2.2.
#[test]
fn ed25519_and_eddsa_are_one_algorithm_of_an_ed25519_key() {
    for of_key in [None, Some("EdDSA"), Some("Ed25519")] {
        let mut jwk = public("eddsa");
        jwk["alg"] = json!(of_key);
        for of_token in ["EdDSA", "Ed25519"] {
            let token = eddsa_token(&json!({"alg": of_token, "kid": jwk["kid"]}));
            let verification = verify(&[jwk.clone()], &token);
            assert_eq!(
                verification,
                Verification::Verified,
                "{of_key:?} {of_token}"
            );
        }
        for of_token in ["Ed448", "ed25519", "ES256", "none", ""] {
            let token = eddsa_token(&json!({"alg": of_token}));
            assert_eq!(verify(&[jwk.clone()], &token), Verification::NoKey);
        }
    }
    let mut jwk = public("eddsa");
    jwk["alg"] = json!("Ed448");
    assert!(matches!(unsuitable(&jwk), Unsuitable::NotForUs(_)));
}

#[test]
fn a_kid_chooses_among_keys_that_have_one_and_says_nothing_where_none_has() {
    let with = |kid: Value| json!({"alg": "EdDSA", "kid": kid});
    let mut nameless = public("eddsa");
    nameless["kid"] = Value::Null;
    let named = |name: &str, kid: &str| {
        let mut jwk = public(name);
        jwk["kid"] = json!(kid);
        jwk
    };
    use Verification::{NoKey, Verified, WrongSignature};
    for (keys, kid, expected) in [
        (vec![named("eddsa", "a")], json!("a"), Verified),
        (vec![named("eddsa", "a")], json!(null), Verified),
        (vec![named("eddsa", "a")], json!("b"), NoKey),
        (vec![nameless.clone()], json!("a"), Verified),
        (vec![nameless.clone()], json!(null), Verified),
        (
            vec![nameless.clone(), named("es256", "b")],
            json!("a"),
            NoKey,
        ),
        (
            vec![named("eddsa_stranger", "a"), named("eddsa", "b")],
            json!("a"),
            WrongSignature,
        ),
        (
            vec![named("eddsa_stranger", "a"), named("eddsa", "b")],
            json!(null),
            Verified,
        ),
    ] {
        let token = eddsa_token(&with(kid.clone()));
        assert_eq!(verify(&keys, &token), expected, "{kid} {keys:?}");
    }
}

#[test]
fn of_published_keys_the_suitable_ones_among_the_first_64_are_read() {
    let good = |kid: usize| {
        json!({
            "kty": "OKP", "crv": "Ed25519", "kid": kid.to_string(),
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        })
    };
    let set = |keys: Vec<Value>| KeySet::published(json!({"keys": keys}).to_string().as_bytes());
    let mut private = good(1);
    private["d"] = json!("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A");
    let k = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE";
    let unsuitable = vec![
        private,
        json!({"kty": "oct", "k": k, "kid": "2"}),
        json!({"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "3"}),
        json!(null),
    ];
    let why = set(unsuitable.clone()).err().unwrap();
    assert!(
        why.contains(r#""3" is an RSA key of under 2,048 bits"#),
        "{why}"
    );
    let mixed: Vec<Value> = unsuitable.into_iter().chain((4..=64).map(good)).collect();
    let (keys, skipped) = set(mixed).unwrap();
    assert!(!(0..4).any(|kid| keys.has(&kid.to_string())));
    assert!((4..64).all(|kid| keys.has(&kid.to_string())));
    assert!(!keys.has("64"), "the 65th");
    assert_eq!(
        skipped,
        [
            r#""1" is a secret that is published"#,
            r#""2" is a secret that is published"#,
            r#""3" is an RSA key of under 2,048 bits"#,
            "number 4 has no kty",
            "1 more than the 64 that are read",
        ]
    );
}

#[test]
fn a_set_without_a_usable_key_is_refused() {
    assert!(KeySet::parse(r#"{"keys":[{"kty":"quantum"}]}"#).is_err());
    assert!(KeySet::parse(r#"{"keys":{}}"#).is_err());
    assert!(KeySet::parse("[]").is_err());
}
