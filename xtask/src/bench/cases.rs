//! The kinds of requests that are compared.

use do_nothing::recording::Mode;

use super::Bench;
use super::bounds::{self, Bounds};
use super::seed::{FULL, LARGE, SMALL, id};
use super::tokens::forge;

/// One kind of request.
pub struct Case {
    pub name: String,
    pub method: &'static str,
    /// Below `/api/v1/applications/`, with Lua's `n` for a random number.
    pub path: String,
    /// How many applications the random number chooses among.
    pub among: usize,
    pub token: String,
    pub body: Option<&'static str>,
    pub status: u16,
    /// The throughput to reach, as a part of the stand-in's; of what uses the store, on SQLite.
    pub target: Option<f64>,
    /// Whether each request has another signature in its token, which cannot have been seen before.
    pub forged_anew: bool,
    /// What bounds it, where that is measured too.
    pub bounds: Option<Bounds>,
}

const BODY: &str = r#"{"url":"https://merchant.example.com/hooks/kadosei"}"#;

impl Case {
    /// What the service does for it does not depend on more than this.
    pub fn kind(&self) -> String {
        format!("{} {} {}", self.method, self.path, self.status)
    }

    /// What of its recording is replayed.
    pub fn modes(&self) -> &'static [Mode] {
        match self.bounds {
            Some(_) => &[Mode::Same, Mode::Fewest, Mode::AtOnce],
            None => &[Mode::Same],
        }
    }

    /// The first of its applications, as its path names it, and the second.
    pub fn applications(&self) -> [String; 2] {
        let name = self.path.split('/').next().unwrap_or_default();
        ["0", "1"].map(|number| name.replace("%d", number))
    }
}

impl Bench {
    fn create(&self, algorithm: &str, path: &str, among: usize, target: Option<f64>) -> Case {
        Case {
            name: format!("create, {algorithm}"),
            method: "POST",
            path: path.to_owned(),
            among,
            token: self.tokens.of(algorithm).to_owned(),
            body: Some(BODY),
            status: 201,
            target,
            forged_anew: false,
            bounds: None,
        }
    }

    pub fn get(&self, name: &str, path: &str, among: usize) -> Case {
        Case {
            name: name.to_owned(),
            method: "GET",
            path: path.to_owned(),
            among,
            token: self.tokens.of("HS256").to_owned(),
            body: None,
            status: 200,
            target: None,
            forged_anew: false,
            bounds: None,
        }
    }

    pub fn cases(&self) -> Vec<Case> {
        let small = "small-%d/webhooks";
        let mut cases = vec![
            Case {
                bounds: Some(bounds::CREATE),
                ..self.create("HS256", small, SMALL, Some(0.85))
            },
            self.create("EdDSA", small, SMALL, Some(0.75)),
            self.create("ES256", small, SMALL, Some(0.6)),
            self.create("RS256", small, SMALL, Some(0.6)),
            Case {
                name: format!("create in an application with {FULL} and more, HS256"),
                ..self.create("HS256", "large-%d/webhooks", LARGE, None)
            },
            Case {
                bounds: Some(bounds::READ),
                ..self.get("read", &format!("large-%d/webhooks/{}", id(0)), LARGE)
            },
            Case {
                bounds: Some(bounds::LIST),
                ..self.get("list of 50", "listed-%d/webhooks?limit=50", LARGE)
            },
            Case {
                status: 400,
                body: Some(r#"{"url":"http://10.0.0.1/","subscribedEvents":[]}"#),
                name: "invalid body".to_owned(),
                ..self.create("HS256", small, SMALL, None)
            },
            Case {
                status: 401,
                token: "not.a.token".to_owned(),
                name: "refused: no JWT".to_owned(),
                target: Some(0.8),
                ..self.create("HS256", small, SMALL, None)
            },
        ];
        for algorithm in ["HS256", "EdDSA", "ES256", "RS256"] {
            for forged_anew in [false, true] {
                let mut token = self.tokens.of(algorithm).to_owned();
                forge(&mut token);
                let how = match forged_anew {
                    true => "another forged one each time",
                    false => "the same forged one",
                };
                cases.push(Case {
                    status: 401,
                    token,
                    name: format!("refused, {algorithm}: {how}"),
                    target: Some(0.8),
                    forged_anew,
                    ..self.create(algorithm, small, SMALL, None)
                });
            }
        }
        cases
    }

    /// A read and a list, each of an application with one webhook and of one with [`FULL`].
    pub fn cases_by_webhooks(&self) -> [[Case; 2]; 2] {
        [
            ("read", format!("webhooks/{}", id(0))),
            ("list", "webhooks?limit=50".to_owned()),
        ]
        .map(|(name, path)| {
            ["one", "listed"].map(|kind| {
                let path = format!("{kind}-%d/{path}");
                self.get(&format!("{name}, {kind}"), &path, LARGE)
            })
        })
    }

    /// A create and a read in one of `among` applications.
    pub fn cases_by_applications(&self, among: usize) -> [Case; 2] {
        [
            Case {
                name: format!("create, {among} applications"),
                ..self.create("HS256", "small-%d/webhooks", among, None)
            },
            self.get(
                &format!("read, {among} applications"),
                &format!("small-%d/webhooks/{}", id(0)),
                among,
            ),
        ]
    }
}
