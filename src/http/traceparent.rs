//! `traceparent`: which trace a request belongs to (W3C Trace Context §3.2).

use http::{HeaderMap, HeaderName};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// How long version, trace id, parent id and flags are, with the hyphens between them.
const LENGTH: usize = 55;

/// The request's `traceparent`, if it has one that is valid. What later versions append is left out.
pub fn read(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let text = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    let (known, appended) = text.split_at_checked(LENGTH)?;
    let parts: Vec<&str> = known.split('-').collect();
    let [version, trace, parent, flags] = parts[..] else {
        return None;
    };
    let hex = |text: &str, length: usize| {
        let digits = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        text.len() == length && text.bytes().all(digits)
    };
    let is_zero = |text: &str| text.bytes().all(|byte| byte == b'0');
    let valid = hex(version, 2)
        && version != "ff"
        && hex(trace, 32)
        && !is_zero(trace)
        && hex(parent, 16)
        && !is_zero(parent)
        && hex(flags, 2);
    let ends = match version {
        "00" => appended.is_empty(),
        _ => appended.is_empty() || appended.starts_with('-'),
    };
    (valid && ends).then_some(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(values: &[&str]) -> HeaderMap {
        let values = values.iter().map(|value| value.parse().expect("a value"));
        values.map(|value| (TRACEPARENT, value)).collect()
    }

    #[test]
    fn only_a_valid_traceparent_is_read() {
        assert_eq!(read(&headers(&[VALID])), Some(VALID));
        let later = VALID.replacen("00", "01", 1);
        assert_eq!(read(&headers(&[&later])), Some(&later[..]));
        let appended = format!("{later}-what-comes");
        assert_eq!(read(&headers(&[&appended])), Some(&later[..]));
        for invalid in [
            "",
            "x",
            &VALID[1..],
            &format!("{VALID}0"),
            &format!("{VALID}-00"),
            &format!("{later}x"),
            &VALID.to_uppercase(),
            &VALID.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &VALID.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &VALID.replacen("00", "ff", 1),
            &VALID.replace('-', "_"),
            &VALID.replace('f', "g"),
        ] {
            assert_eq!(read(&headers(&[invalid])), None, "{invalid}");
        }
        assert_eq!(read(&headers(&[])), None);
        assert_eq!(read(&headers(&[VALID, VALID])), None);
    }
}
