//! Card numbers, tokens, secrets and e-mail addresses taken out of a text that is kept: what an endpoint
//! answers can hold anything.
//!
//! Scanners instead of the crate `regex`, which is larger than all else that the component does with
//! text. Each looks at a bounded number of bytes, so the time is linear in the text's length.

/// What stands in the place of a card number.
const CARD_NUMBER: &str = "[card number]";
/// What stands in the place of a bearer token.
const TOKEN: &str = "[token]";
/// What stands in the place of a signing secret.
const SECRET: &str = "[signing secret]";
/// What stands in the place of an e-mail address.
const ADDRESS: &str = "[e-mail address]";

/// How many digits a card number has (ISO/IEC 7812).
const CARD_DIGITS: std::ops::RangeInclusive<usize> = 13..=19;

/// How far a part of an e-mail address is looked for, in bytes: RFC 5321 §4.5.3.1 has 64 and 255, and
/// each can be percent-encoded.
const ADDRESS_BYTES: usize = 256;

/// A word of letters only that is shorter stands after `Bearer` in a sentence, and is no token.
const LEAST_LETTERS: usize = 20;

/// The text without:
///
/// - card numbers: 13 to 19 digits, single spaces or hyphens among them, whose last one is right (Luhn,
///   ISO/IEC 7812-1 annex B);
/// - bearer tokens: what follows `Bearer` (RFC 6750 §2.1), and JSON Web Tokens wherever they stand;
/// - signing secrets (`whsec_…`);
/// - e-mail addresses of a domain with a dot, also with `%40` for their `@`.
///
/// In their places are `[card number]` and so on, so the result can be longer.
pub fn scrub(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut scrubbed = String::with_capacity(text.len());
    // Up to where it is copied, and from where it is looked at.
    let (mut copied, mut at) = (0, 0);
    while at < bytes.len() {
        let found = match bytes[at] {
            b'0'..=b'9' => card_number(bytes, copied, at).map(|end| (at, end, CARD_NUMBER)),
            b'B' | b'b' => bearer_token(bytes, copied, at).map(|(from, end)| (from, end, TOKEN)),
            b'e' => web_token(bytes, copied, at).map(|end| (at, end, TOKEN)),
            b'w' => signing_secret(bytes, at).map(|end| (at, end, SECRET)),
            b'@' => address(text, copied, at, 1),
            b'%' if bytes[at..].starts_with(b"%40") => address(text, copied, at, 3),
            _ => None,
        };
        match found {
            Some((from, end, what)) => {
                scrubbed.push_str(&text[copied..from]);
                scrubbed.push_str(what);
                (copied, at) = (end, end);
            }
            None => at += 1,
        }
    }
    scrubbed.push_str(&text[copied..]);
    scrubbed
}

/// Where the longest card number ends that begins at `from`. It neither begins nor ends within a
/// number. Here and below, what is before `least` was taken out.
fn card_number(bytes: &[u8], least: usize, from: usize) -> Option<usize> {
    if from > least && bytes[from - 1].is_ascii_digit() {
        return None;
    }
    let mut digits = 0;
    // The sum with the last digit taken as it is, and the one with it doubled: as digits come, they
    // change places.
    let (mut plain, mut doubled) = (0, 0);
    let mut end = None;
    let mut at = from;
    while digits < *CARD_DIGITS.end() {
        let Some(digit) = bytes.get(at).filter(|byte| byte.is_ascii_digit()) else {
            break;
        };
        let digit = u32::from(digit - b'0');
        let twice = if digit > 4 { 2 * digit - 9 } else { 2 * digit };
        (plain, doubled) = (doubled + digit, plain + twice);
        digits += 1;
        at += 1;
        let next_is = |test: fn(&u8) -> bool, at: usize| bytes.get(at).is_some_and(test);
        if next_is(u8::is_ascii_digit, at) {
            continue;
        }
        if CARD_DIGITS.contains(&digits) && plain % 10 == 0 {
            end = Some(at);
        }
        if next_is(|byte| b" -".contains(byte), at) && next_is(u8::is_ascii_digit, at + 1) {
            at += 1;
        }
    }
    end
}

/// Where the token begins and ends that follows the `Bearer` at `from`.
fn bearer_token(bytes: &[u8], least: usize, from: usize) -> Option<(usize, usize)> {
    const SCHEME: &[u8] = b"bearer";

    let scheme = bytes.get(from..from + SCHEME.len())?;
    if !scheme.eq_ignore_ascii_case(SCHEME) || is_within_word(bytes, least, from) {
        return None;
    }
    let after = from + SCHEME.len();
    // As in a header, as JSON and as a form have it.
    let between = |byte: &u8| b" \t:+".contains(byte);
    let begin = after + count(&bytes[after..], between).min(8);
    let begin = match bytes[after..].strip_prefix(b"%20") {
        Some(_) => after + 3,
        None => begin,
    };
    let end = begin + count(&bytes[begin..], is_of_token);
    let token = &bytes[begin..end];
    let is_word = token.len() < LEAST_LETTERS && token.iter().all(u8::is_ascii_alphabetic);
    (begin > after && !is_word).then_some((begin, end))
}

/// Where the JSON Web Token ends that begins at `from`: JSON in base64url begins with `eyJ`.
fn web_token(bytes: &[u8], least: usize, from: usize) -> Option<usize> {
    if !bytes[from..].starts_with(b"eyJ") || is_within_word(bytes, least, from) {
        return None;
    }
    let end = from + count(&bytes[from..], is_of_token);
    let parts = bytes[from..end].iter().filter(|byte| **byte == b'.');
    (parts.count() >= 2).then_some(end)
}

/// Where the signing secret ends that begins at `from`.
fn signing_secret(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes[from..].strip_prefix(b"whsec_")?;
    let length = count(rest, is_of_token);
    (length >= 16).then_some(bytes.len() - rest.len() + length)
}

/// The e-mail address whose `@`, of that many bytes, is at `sign`.
fn address(
    text: &str,
    least: usize,
    sign: usize,
    length: usize,
) -> Option<(usize, usize, &'static str)> {
    let bytes = text.as_bytes();
    let least = least.max(sign.saturating_sub(ADDRESS_BYTES));
    let local = bytes[least..sign].iter().rev();
    let from = sign - local.take_while(|byte| is_of_address(byte)).count();
    // The limit may lie within a character.
    let from = text.ceil_char_boundary(from);
    let domain = &bytes[sign + length..];
    let domain = &domain[..domain.len().min(ADDRESS_BYTES)];
    let is_of_domain =
        |byte: &u8| byte.is_ascii_alphanumeric() || b"-.".contains(byte) || *byte > 127;
    let mut domain = &domain[..count(domain, is_of_domain)];
    let is_name = loop {
        // A sentence ends with a dot.
        let trailing = domain.iter().rev();
        let trailing = trailing.take_while(|byte| b"-.".contains(byte)).count();
        domain = &domain[..domain.len() - trailing];
        let mut labels = domain.rsplitn(2, |byte| *byte == b'.');
        let top = labels.next().unwrap_or_default();
        let Some(before) = labels.next() else {
            break false;
        };
        // `3.50` is no domain, and of `example.com.5` the beginning is.
        if top.len() > 1 && !top[0].is_ascii_digit() {
            break true;
        }
        domain = before;
    };
    let end = text.floor_char_boundary(sign + length + domain.len());
    (from < sign && is_name).then_some((from, end, ADDRESS))
}

/// How many bytes at the beginning are so.
fn count(bytes: &[u8], is_so: impl Fn(&u8) -> bool) -> usize {
    bytes.iter().take_while(|byte| is_so(byte)).count()
}

/// Whether the word at `from` goes on from before.
fn is_within_word(bytes: &[u8], least: usize, from: usize) -> bool {
    from > least && bytes[from - 1].is_ascii_alphanumeric()
}

/// RFC 6750 §2.1, `b64token`; `%` where it is percent-encoded.
fn is_of_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~+/=%".contains(byte)
}

/// What most of the names before an `@` are of. RFC 5322 §3.2.3 has more, such as `=` and `/`, which
/// separate addresses from what they are the values of.
fn is_of_address(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b".!#$&'*+-^_~%".contains(byte) || *byte > 127
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Numbers for tests of Visa, Mastercard, American Express, Diners Club, Maestro and a Visa of 13
    /// and of 19 digits.
    const CARDS: [&str; 8] = [
        "4111111111111111",
        "5500005555555559",
        "371449635398431",
        "30569309025904",
        "6759649826438453",
        "4222222222222",
        "4000000000000000006",
        "2223000048400011",
    ];

    #[test]
    fn card_numbers_are_taken_out() {
        for card in CARDS {
            for (before, after) in [
                ("", ""),
                ("card=", "&x"),
                ("{\"pan\":\"", "\"}"),
                ("é", "é"),
            ] {
                let text = format!("{before}{card}{after}");
                assert_eq!(scrub(&text), format!("{before}[card number]{after}"));
            }
        }
        for (text, scrubbed) in [
            ("4111 1111 1111 1111", "[card number]"),
            ("4111-1111-1111-1111.", "[card number]."),
            ("3714 496353 98431", "[card number]"),
            // Other numbers before and after it.
            (
                "line 7 4111111111111111 12 ok",
                "line 7 [card number] 12 ok",
            ),
            ("exp 12-4111111111111111-27", "exp 12-[card number]-27"),
            (
                "4111111111111111 5500005555555559",
                "[card number] [card number]",
            ),
        ] {
            assert_eq!(scrub(text), scrubbed);
        }
    }

    #[test]
    fn what_is_no_card_number_stays() {
        for text in [
            "4111111111111112",
            "411111111111",
            "41111111111111111111",
            "4111  1111 1111 1111",
            "4111_1111_1111_1111",
            "2026-01-15T08:00:00.000Z",
            "+49 30 901820",
            "019abd5a6f407c2e8d3b9f0a1b2c3d4e",
        ] {
            assert_eq!(scrub(text), text);
        }
    }

    #[test]
    fn bearer_tokens_and_secrets_are_taken_out() {
        let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJtIn0.c2lnbmF0dXJl";
        for (text, scrubbed) in [
            (
                "Authorization: Bearer abc.DEF-1~+/=",
                "Authorization: Bearer [token]",
            ),
            ("bearer 0123456789", "bearer [token]"),
            (
                "{\"auth\":\"BEARER   sk_live_1\"}",
                "{\"auth\":\"BEARER   [token]\"}",
            ),
            ("Bearer: x1, y", "Bearer: [token], y"),
            ("a=Bearer%20x1&b=1", "a=Bearer%20[token]&b=1"),
            ("Bearer abcdefghijklmnopqrst", "Bearer [token]"),
            (&format!("token {jwt}!"), "token [token]!"),
            ("whsec_bm90LWEtcmVhbC1zZWNyZXQ= x", "[signing secret] x"),
        ] {
            assert_eq!(scrub(text), scrubbed);
        }
        for text in [
            "Bearer token required",
            "Bearer authentication is missing",
            "Bearer",
            "bearers x1",
            "forbearer x1",
            "eyJ is how JSON begins in base64url",
            "whsec_****abcd",
        ] {
            assert_eq!(scrub(text), text);
        }
    }

    #[test]
    fn e_mail_addresses_are_taken_out() {
        for (text, scrubbed) in [
            ("ada@example.com", "[e-mail address]"),
            ("<ada.l+x@mail.example.co.uk>, ok", "<[e-mail address]>, ok"),
            ("Ask ada@example.com.", "Ask [e-mail address]."),
            (
                "{\"email\":\"ada@example.com\"}",
                "{\"email\":\"[e-mail address]\"}",
            ),
            ("email=ada%40example.com&x=1", "email=[e-mail address]&x=1"),
            ("jürgen@exämple.de", "[e-mail address]"),
            ("ada@example.com.5", "[e-mail address].5"),
            // Else the domain is one only once the number in it is taken out.
            ("a@.é4111111111111111eyJ.a.b ", "[e-mail address].a.b "),
            ("a@b.co,c@d.co", "[e-mail address],[e-mail address]"),
            (
                "https://user:pass@example.com/",
                "https://user:[e-mail address]/",
            ),
        ] {
            assert_eq!(scrub(text), scrubbed);
        }
        for text in [
            "@example.com",
            "ada@localhost",
            "a @ b.co",
            "ada@.",
            "@",
            "5@3.50",
            "a@b.c",
        ] {
            assert_eq!(scrub(text), text);
        }
    }

    #[test]
    fn parts_at_the_limits_are_whole_characters() {
        for length in 120..140 {
            let long = "é".repeat(length);
            let text = format!("x{long}@b.{long}");
            assert!(scrub(&text).contains(ADDRESS), "{length}");
        }
    }

    /// A text in which much is to be found.
    fn texts() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            "[0-9 -]{1,24}",
            "[a-zé@.%40 ]{1,24}",
            prop::sample::select(CARDS.as_slice()).prop_map(str::to_owned),
            Just("Bearer ".to_owned()),
            Just("eyJ.a.b".to_owned()),
            Just("whsec_".to_owned()),
            "\\PC{0,8}",
        ];
        prop::collection::vec(part, 0..24).prop_map(|parts| parts.concat())
    }

    proptest! {
        /// What is scrubbed has nothing left to scrub, and grew by no more than what was put in.
        #[test]
        fn any_text_is_scrubbed_once_and_for_all(text in texts()) {
            let scrubbed = scrub(&text);
            prop_assert!(scrubbed.len() <= 3 * text.len(), "{scrubbed}");
            prop_assert_eq!(scrub(&scrubbed), scrubbed);
        }

        /// A card number is found whatever stands around it, and however it is grouped.
        #[test]
        fn no_card_number_stays(
            before in "[^0-9]{0,8}",
            after in "[^0-9]{0,8}",
            card in prop::sample::select(CARDS.as_slice()),
            groups in prop::collection::vec(prop::option::of("[ -]"), 19),
        ) {
            let mut grouped = String::new();
            for (digit, group) in card.chars().zip(groups) {
                if !grouped.is_empty() {
                    grouped.extend(group);
                }
                grouped.push(digit);
            }
            let scrubbed = scrub(&format!("{before}{grouped}{after}"));
            prop_assert!(!scrubbed.contains(&grouped), "{scrubbed}");
            // Its beginning can be the end of an address or a token, and go with that.
            let left = scrubbed.bytes().filter(u8::is_ascii_digit).count();
            prop_assert!(left < *CARD_DIGITS.start(), "{scrubbed}");
        }
    }
}
