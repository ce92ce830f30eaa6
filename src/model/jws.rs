//! A token as it was sent: a JSON Web Signature in its compact form (RFC 7515 §7.1). Nothing that
//! it says is believed here.
//!
//! It is read by hand and not by jwt-compact, whose header has a type for each member that RFC 7515
//! names: there an `x5t` of another length, which decides nothing here, spoils a good token.

use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::{Map, Value};

/// The three parts of a token.
#[derive(Debug)]
pub struct Jws<'a> {
    /// `alg`: what the token calls its algorithm. Only compared with the key's (RFC 8725 §3.1).
    pub algorithm: String,
    /// `kid`: a hint at the key (RFC 7515 §4.1.4).
    pub key_id: Option<String>,
    /// Whether there is a `crit`, whatever is in it (RFC 7515 §4.1.11).
    pub is_critical: bool,
    /// The claims' members.
    pub claims: Map<String, Value>,
    /// What the signature is over: the first two parts as they were sent (RFC 7515 §5.2).
    pub signed: &'a [u8],
    /// The third part.
    pub signature: Vec<u8>,
}

impl<'a> Jws<'a> {
    /// Reads a token. Members of the header other than `alg`, `kid` and `crit` are ignored, whatever
    /// is in them (RFC 7515 §4).
    ///
    /// # Errors
    ///
    /// What is wrong with its form, for the log.
    pub fn parse(token: &'a str) -> Result<Self, &'static str> {
        let not_three = "has not three parts";
        let (signed, signature) = token.rsplit_once('.').ok_or(not_three)?;
        let (header, claims) = signed.split_once('.').ok_or(not_three)?;
        let header = object(header).ok_or("its header is no JSON object in base64url")?;
        let claims = object(claims).ok_or("its claims are no JSON object in base64url")?;
        let signature = Base64UrlUnpadded::decode_vec(signature)
            .map_err(|_| "its signature is not in base64url")?;
        let algorithm = match header.get("alg") {
            Some(Value::String(name)) => name.clone(),
            _ => return Err("its alg is no string"),
        };
        let key_id = match header.get("kid") {
            None | Some(Value::Null) => None,
            Some(Value::String(id)) => Some(id.clone()),
            Some(_) => return Err("its kid is no string"),
        };
        Ok(Self {
            algorithm,
            key_id,
            is_critical: header.contains_key("crit"),
            claims,
            signed: signed.as_bytes(),
            signature,
        })
    }
}

/// Base64url without padding (RFC 7515 §2) of a JSON object; of a member that comes twice the last
/// counts (RFC 7515 §4, RFC 7519 §4).
fn object(part: &str) -> Option<Map<String, Value>> {
    let json = Base64UrlUnpadded::decode_vec(part).ok()?;
    serde_json::from_slice(&json).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn token(header: &str, claims: &str) -> String {
        let [header, claims] =
            [header, claims].map(|text| Base64UrlUnpadded::encode_string(text.as_bytes()));
        format!("{header}.{claims}.AAAA")
    }

    #[test]
    fn header_members_that_are_not_used_cannot_matter() {
        for (member, value) in [
            (
                "x5t",
                json!("65:AF:69:09:B1:B0:75:8E:06:C6:E0:48:C4:60:02:B5:C6:95:E3:6B"),
            ),
            ("x5t", json!("cCz4pMOAYy5GbxXpeUbCqZkDSPe8iZ1GzkUWjRMeSzw")),
            ("x5t", json!("%2B%2F")),
            ("x5t", json!("")),
            ("x5t", json!(7)),
            ("x5t#S256", json!("c2hvcnQ")),
            ("x5c", json!({"a": 1})),
            ("x5u", json!(null)),
            ("jku", json!(["https://example.com/"])),
            ("jwk", json!("no key")),
            ("cty", json!("JWT")),
            ("cty", json!("example+json")),
            ("cty", json!(1)),
            ("typ", json!("at+jwt")),
            ("typ", json!({})),
            ("zip", json!("DEF")),
        ] {
            let header = json!({"alg": "HS256", "kid": "k", member: value}).to_string();
            let token = token(&header, r#"{"sub":"m"}"#);
            let jws = Jws::parse(&token).unwrap_or_else(|why| panic!("{header}: {why}"));
            assert_eq!(jws.algorithm, "HS256");
            assert_eq!(jws.key_id.as_deref(), Some("k"));
            assert!(!jws.is_critical);
        }
    }

    #[test]
    fn the_signature_is_over_the_bytes_as_they_were_sent() {
        // Space that no serializer writes.
        let token = token(" { \"alg\" : \"HS256\" }\n", "\t{}");
        let jws = Jws::parse(&token).unwrap();
        assert_eq!(jws.signed, token.strip_suffix(".AAAA").unwrap().as_bytes());
        assert_eq!(jws.signature, [0, 0, 0]);
    }

    #[test]
    fn crit_is_seen_whatever_is_in_it() {
        for crit in [json!(["b64"]), json!([]), json!(null), json!(1)] {
            let token = token(&json!({"alg": "HS256", "crit": crit}).to_string(), "{}");
            assert!(Jws::parse(&token).unwrap().is_critical, "{crit}");
        }
    }

    #[test]
    fn what_has_not_the_form_of_a_token_is_refused() {
        let good = token(r#"{"alg":"HS256"}"#, "{}");
        assert!(Jws::parse(&good).is_ok());
        for text in [
            String::new(),
            ".".to_owned(),
            "..".to_owned(),
            good.replacen('.', "", 1),
            format!("{good}.AAAA"),
            format!("{good}="),
            format!("{good}A"),
            token("[\"HS256\"]", "{}"),
            token("{}", "{}"),
            token(r#"{"alg":null}"#, "{}"),
            token(r#"{"alg":["HS256"]}"#, "{}"),
            token(r#"{"alg":"HS256","kid":1}"#, "{}"),
            token(r#"{"alg":"HS256"}"#, "[]"),
            token(r#"{"alg":"HS256"}"#, "{} {}"),
            token(r#"{"alg":"HS256"}"#, "\u{feff}{}"),
        ] {
            assert!(Jws::parse(&text).is_err(), "{text}");
        }
    }
}
