//! What `up` prints once the service answers: where it is, and what to paste.

use std::fmt::{Display, Formatter};
use std::path::Path;

use crate::keys::FILE as KEYS_FILE;
use crate::up::TOKEN_VALID;
use crate::up::demo::APPLICATION;
use crate::{listen, store};

/// The tokens of the lines to paste. They are secrets, so they have no `Debug`.
pub struct Tokens {
    /// The demo merchant's.
    pub merchant: String,
    /// Of somebody who may publish events.
    pub publisher: String,
}

/// What a newcomer needs to know, and to paste.
pub struct Screen<'a> {
    /// Where the service answers.
    pub base: &'a str,
    /// What serves it, in words.
    pub runtime: &'a str,
    /// The merchant that owns the demo application.
    pub merchant: &'a str,
    /// `None`: the service has other keys than the development ones.
    pub tokens: Option<&'a Tokens>,
    /// Where data and keys are, if that is not the default.
    pub state_dir: Option<&'a Path>,
    /// Whether endpoints on this machine are accepted and reached.
    pub local_endpoints: bool,
    /// The event that is published.
    pub event_type: &'a str,
    /// A link to the demo application's portal, made a moment ago.
    pub portal: Option<&'a str>,
}

impl Display for Screen<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let Self {
            base,
            runtime,
            merchant,
            tokens,
            state_dir,
            ..
        } = self;
        let data = state_dir.map_or_else(
            || ".spin".to_owned(),
            |directory| directory.display().to_string(),
        );
        let flag = state_dir.map_or_else(String::new, |directory| {
            format!(" --state-dir {}", quoted(&directory.display().to_string()))
        });
        let store = store::FILE;
        writeln!(f, "\n  application-webhooks on {runtime}\n")?;
        writeln!(f, "  Address  {base}")?;
        writeln!(
            f,
            "  Docs     {base}/docs (the API reference, where requests can be tried)\n           \
             {base}/docs/receivers (how deliveries are verified)"
        )?;
        match self.portal {
            Some(link) => writeln!(
                f,
                "  Portal   {link}\n           good for a minute and once; another: {}",
                portal(base, &flag)
            )?,
            None => writeln!(f, "  Portal   {base}/portal (a link to it: see the guide)")?,
        }
        writeln!(
            f,
            "  Probes   {base}/healthz (it answers)\n           {base}/readyz (it can serve)\n           \
             {base}/dispatcher/readyz (it can deliver: asked every second, it is the clock of retries)"
        )?;
        writeln!(
            f,
            "  Data     {data} (store: {store}, development keys: {KEYS_FILE})"
        )?;
        match tokens {
            Some(tokens) => writeln!(
                f,
                "  Token    {}\n           valid for {} hours as {merchant}; another: cargo xtask \
                 token --merchant {}{flag}",
                tokens.merchant,
                TOKEN_VALID.as_secs() / 3600,
                quoted(merchant),
            )?,
            None => writeln!(
                f,
                "  Token    put one of yours into $TOKEN, and a publisher's into $PUBLISHER: \
                 SPIN_VARIABLE_JWKS is set, and has not the development key",
            )?,
        }
        let endpoints = match self.local_endpoints {
            true => "may be on this machine and over http, for development only",
            false => "must be on the public network and over https",
        };
        writeln!(f, "  Webhooks {endpoints}")?;
        let merchant = tokens.map(|tokens| tokens.merchant.as_str());
        let publisher = tokens.map(|tokens| tokens.publisher.as_str());
        writeln!(f, "\nCreate a webhook:\n\n{}", curl(base, merchant))?;
        if self.local_endpoints {
            let url = match *base == listen::DEFAULT_URL {
                true => String::new(),
                false => format!(" --url {}", quoted(base)),
            };
            writeln!(
                f,
                "\nOr, in a second terminal, one whose deliveries are printed as they come:\n\n\
                 cargo xtask listen{url}{flag}"
            )?;
        }
        writeln!(
            f,
            "\nPublish an event, then see what became of it:\n\n{}\n\n{}\n\nCtrl-C stops.\n",
            publish(base, publisher, self.event_type),
            read(base, merchant),
        )
    }
}

/// The command that prints another link to the portal.
fn portal(base: &str, flag: &str) -> String {
    let url = match base == listen::DEFAULT_URL {
        true => String::new(),
        false => format!(" --url {}", quoted(base)),
    };
    format!("cargo xtask portal{url}{flag}")
}

/// The line that creates a webhook.
fn curl(base: &str, token: Option<&str>) -> String {
    let authorization = authorization(token, "TOKEN");
    format!(
        "curl -i -X POST {base}/api/v1/applications/{APPLICATION}/webhooks \\\n  \
         -H {authorization} \\\n  \
         -H 'Content-Type: application/json' \\\n  \
         -d '{{\"url\": \"https://merchant.example.com/hooks/kadosei\"}}'"
    )
}

/// The line that publishes an event, shows the response, and keeps the event's id in `$EVENT`.
fn publish(base: &str, token: Option<&str>, event_type: &str) -> String {
    let authorization = authorization(token, "PUBLISHER");
    let body = quoted(&format!(
        r#"{{"type": "{event_type}", "data": {{"sessionId": "ses_8c1f"}}}}"#
    ));
    format!(
        "EVENT=$(curl -si -X POST {base}/api/v1/applications/{APPLICATION}/events \\\n  \
         -H {authorization} \\\n  \
         -H 'Content-Type: application/json' \\\n  \
         -d {body} \\\n  \
         | tee /dev/stderr | grep -o 'evt_[0-9a-z]*' | head -n 1)"
    )
}

/// The line that shows the event with its deliveries.
fn read(base: &str, token: Option<&str>) -> String {
    let authorization = authorization(token, "TOKEN");
    format!(
        "curl -s {base}/api/v1/applications/{APPLICATION}/events/$EVENT \\\n  -H {authorization}"
    )
}

/// The header with a token, or with the variable that is to have one.
fn authorization(token: Option<&str>, variable: &str) -> String {
    token.map_or_else(
        || format!(r#""Authorization: Bearer ${variable}""#),
        |token| quoted(&format!("Authorization: Bearer {token}")),
    )
}

/// A word for the shell.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    fn tokens() -> &'static Tokens {
        static TOKENS: LazyLock<Tokens> = LazyLock::new(|| Tokens {
            merchant: "a.b.c".to_owned(),
            publisher: "d.e.f".to_owned(),
        });
        &TOKENS
    }

    fn screen<'a>(merchant: &'a str, state_dir: Option<&'a Path>) -> Screen<'a> {
        Screen {
            base: "http://127.0.0.1:1",
            runtime: "Spin",
            merchant,
            tokens: Some(tokens()),
            state_dir,
            local_endpoints: true,
            event_type: "session.completed",
            portal: Some("http://127.0.0.1:1/portal#code=x"),
        }
    }

    #[test]
    fn the_screen_has_a_link_to_the_portal_and_how_to_make_another() {
        let text = screen("m", Some(Path::new("/a b"))).to_string();
        for part in [
            "  Portal   http://127.0.0.1:1/portal#code=x\n",
            "another: cargo xtask portal --url http://127.0.0.1:1 --state-dir '/a b'\n",
        ] {
            assert!(text.contains(part), "{text}");
        }
        let without = Screen {
            portal: None,
            ..screen("m", None)
        };
        let text = without.to_string();
        assert!(
            text.contains("  Portal   http://127.0.0.1:1/portal ("),
            "{text}"
        );
        assert!(!text.contains("xtask portal"), "{text}");
    }

    #[test]
    fn the_curl_line_is_the_documented_request() {
        assert_eq!(
            curl("http://127.0.0.1:3000", Some("a.b.c")),
            "curl -i -X POST http://127.0.0.1:3000/api/v1/applications/demo/webhooks \\\n  \
             -H 'Authorization: Bearer a.b.c' \\\n  \
             -H 'Content-Type: application/json' \\\n  \
             -d '{\"url\": \"https://merchant.example.com/hooks/kadosei\"}'"
        );
        assert!(curl("http://[::1]:1", None).contains(r#"-H "Authorization: Bearer $TOKEN""#));
    }

    #[test]
    fn the_screen_names_what_is_not_the_default() {
        let text = screen("it's me", Some(Path::new("/a b"))).to_string();
        assert!(
            text.contains(r"cargo xtask token --merchant 'it'\''s me' --state-dir '/a b'"),
            "{text}"
        );
        let text = screen("m", None).to_string();
        assert!(text.contains("--merchant m\n"), "{text}");
    }

    #[test]
    fn the_screen_prints_the_references_address() {
        let text = screen("m", None).to_string();
        assert!(text.contains("  http://127.0.0.1:1/docs "), "{text}");
        assert!(
            text.contains("  http://127.0.0.1:1/docs/receivers "),
            "{text}"
        );
    }

    #[test]
    fn the_screen_prints_the_addresses_of_the_probes() {
        let text = screen("m", None).to_string();
        for path in ["/healthz", "/readyz", "/dispatcher/readyz"] {
            assert!(
                text.contains(&format!(" http://127.0.0.1:1{path} (")),
                "{text}"
            );
        }
    }

    #[test]
    fn an_event_is_published_by_a_publisher_and_read_by_the_merchant() {
        let text = screen("m", None).to_string();
        let publish = "EVENT=$(curl -si -X POST http://127.0.0.1:1/api/v1/applications/demo/events \\\n  \
             -H 'Authorization: Bearer d.e.f' \\\n  \
             -H 'Content-Type: application/json' \\\n  \
             -d '{\"type\": \"session.completed\", \"data\": {\"sessionId\": \"ses_8c1f\"}}' \\\n  \
             | tee /dev/stderr | grep -o 'evt_[0-9a-z]*' | head -n 1)\n";
        assert!(text.contains(publish), "{text}");
        let read = "\ncurl -s http://127.0.0.1:1/api/v1/applications/demo/events/$EVENT \\\n  \
             -H 'Authorization: Bearer a.b.c'\n";
        assert!(text.contains(read), "{text}");

        let screen = Screen {
            tokens: None,
            event_type: "it's paid",
            ..screen("m", None)
        };
        let text = screen.to_string();
        for part in [
            r#"-H "Authorization: Bearer $PUBLISHER""#,
            r#"-H "Authorization: Bearer $TOKEN""#,
            r#"-d '{"type": "it'\''s paid", "#,
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn it_says_how_deliveries_are_seen_where_they_can_reach_this_machine() {
        for (url, state_dir, expected) in [
            ("http://127.0.0.1:3000", None, "cargo xtask listen\n"),
            (
                "http://127.0.0.1:1",
                None,
                "cargo xtask listen --url http://127.0.0.1:1\n",
            ),
            (
                "http://[::1]:1",
                Some(Path::new("/a b")),
                "cargo xtask listen --url 'http://[::1]:1' --state-dir '/a b'\n",
            ),
        ] {
            let screen = Screen {
                base: url,
                ..screen("m", state_dir)
            };
            let text = screen.to_string();
            assert!(text.contains(expected), "{text}");
            assert!(text.contains("may be on this machine"), "{text}");
        }
        let public = Screen {
            local_endpoints: false,
            ..screen("m", None)
        };
        let text = public.to_string();
        assert!(
            !text.contains("listen") && !text.contains("this machine"),
            "{text}"
        );
        assert!(text.contains("public network and over https"), "{text}");
    }

    #[test]
    fn it_fits_a_terminal() {
        let lines = screen("m", None).to_string().lines().count();
        assert!(lines <= 40, "{lines}");
    }
}
