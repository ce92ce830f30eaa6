//! The header `Retry-After` of an endpoint's response (RFC 9110 §10.2.3).

use std::time::UNIX_EPOCH;

use super::time::Timestamp;

/// How many whole seconds after `now` the header asks to wait; `None`: it cannot be understood. A time
/// that has passed is none to wait, and one that no `u32` holds is the longest.
pub fn parse(header: &str, now: Timestamp) -> Option<u32> {
    let header = header.trim();
    if !header.is_empty() && header.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(header.parse().unwrap_or(u32::MAX));
    }
    let date = httpdate::parse_http_date(header).ok()?;
    let secs = date.duration_since(UNIX_EPOCH).ok()?.as_secs();
    let wait = i64::try_from(secs).ok()?.saturating_sub(now.as_secs());
    Some(u32::try_from(wait.max(0)).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_seconds_or_a_date() {
        // 2026-01-15T08:00:00Z
        let now = Timestamp::from_millis(1_768_464_000_000);
        for (header, expected) in [
            ("0", Some(0)),
            ("120", Some(120)),
            (" 120\t", Some(120)),
            ("99999999999999999999999", Some(u32::MAX)),
            ("Thu, 15 Jan 2026 08:02:00 GMT", Some(120)),
            ("Thursday, 15-Jan-26 08:02:00 GMT", Some(120)),
            ("Thu Jan 15 08:02:00 2026", Some(120)),
            ("Thu, 15 Jan 2026 07:59:59 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(u32::MAX)),
            ("", None),
            ("-5", None),
            ("+5", None),
            ("1.5", None),
            ("1e3", None),
            ("soon", None),
            ("120, 240", None),
            ("2026-01-15T08:02:00Z", None),
            ("Thu, 32 Jan 2026 08:02:00 GMT", None),
        ] {
            assert_eq!(parse(header, now), expected, "{header}");
        }
    }
}
