//! `cargo xtask doctor` and `cargo xtask reindex`: what is wrong in a store, and puts it right.
//!
//! The service may run meanwhile. A document is replaced or removed only if it is still what was
//! read, in one statement of SQLite; what a request changed in between is looked at again in the
//! next pass. An index can be overwritten by a request that read it before: so passes are made
//! until one finds nothing to do.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Write;
use std::mem;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use application_webhooks::http::idempotency;
use application_webhooks::model::application::{ApplicationRecord, ApplicationSettings};
use application_webhooks::model::ids::{ApplicationId, WebhookId};
use application_webhooks::model::rotation::Rotations;
use application_webhooks::model::time::Timestamp;
use application_webhooks::model::webhook::{LastTest, WebhookRecord, WebhookSettings};
use application_webhooks::store::applications::Claim;
use application_webhooks::store::keys;
use base64ct::{Base64, Encoding};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::project;
use crate::store::Documents;

/// How long requests that are under way get to finish what they do, before a finding counts.
const SETTLE: Duration = Duration::from_secs(2);

/// How many passes repair before what is still found is reported.
const MOST_PASSES: u32 = 5;

/// Where copies of what is removed or overwritten go, one JSON line each.
const COPIES: &str = "doctor-copies.jsonl";

#[derive(clap::Args)]
pub struct Args {
    /// Put right what can be; copies of what is removed go to doctor-copies.jsonl beside the store
    #[arg(long)]
    fix: bool,
    /// Where the store is [default: .spin]
    #[arg(long, value_name = "DIRECTORY")]
    state_dir: Option<PathBuf>,
}

#[derive(clap::Args)]
pub struct ReindexArgs {
    /// Where the store is [default: .spin]
    #[arg(long, value_name = "DIRECTORY")]
    state_dir: Option<PathBuf>,
}

/// Reports, and with `--fix` repairs. Fails when something is left.
pub fn run(args: &Args) -> Result<ExitCode> {
    let state_dir = project::state_dir(args.state_dir.as_deref())?;
    examine(&state_dir, args.fix, |_| true)
}

/// Repairs the indexes only.
pub fn reindex(args: &ReindexArgs) -> Result<ExitCode> {
    let state_dir = project::state_dir(args.state_dir.as_deref())?;
    examine(&state_dir, true, Finding::is_about_an_index)
}

/// Reads the store of a state directory, prints what is wrong of the `wanted`, and with `fix` puts
/// it right. Fails when something is left.
pub fn examine(state_dir: &Path, fix: bool, wanted: impl Fn(&Finding) -> bool) -> Result<ExitCode> {
    let documents = Documents::open(state_dir)?;
    let wrong = || -> Result<Vec<Finding>> {
        // A request under way may be about to do it: only what is found twice is wrong.
        let mut found = findings(&documents)?;
        found.retain(|finding| wanted(finding));
        if found.is_empty() {
            return Ok(found);
        }
        std::thread::sleep(SETTLE);
        let again = findings(&documents)?.into_iter();
        Ok(again.filter_map(|it| it.confirmed(&found)).collect())
    };
    let mut repaired = 0;
    let mut found = wrong()?;
    for _ in 0..MOST_PASSES {
        if !fix || found.iter().all(Finding::is_for_a_person) {
            break;
        }
        for finding in &found {
            if finding.repair(&documents, state_dir)? {
                println!("repaired: {finding}");
                repaired += 1;
            }
        }
        found = wrong()?;
    }
    for finding in &found {
        println!("{finding}");
    }
    println!("{} found, {repaired} repaired", found.len() + repaired);
    Ok(if found.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Something that is wrong in a store.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    key: String,
    wrong: Wrong,
}

#[derive(Clone, Debug, PartialEq)]
enum Wrong {
    /// It could be a merchant's data, and a person must decide.
    Unreadable,
    /// The same.
    WithoutApplication,
    /// This document belongs to a webhook that is not there.
    Left(Vec<u8>),
    /// The response under an `Idempotency-Key` that is free again holds a secret: version 1 of the
    /// document did. Without it, the document is the second of these.
    OldSecret(Vec<u8>, Vec<u8>),
    Index {
        readable: bool,
        /// Ids that belong there.
        lacking: BTreeSet<String>,
        /// Ids without a document.
        gone: BTreeSet<String>,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.key)?;
        match &self.wrong {
            Wrong::Unreadable => f.write_str("cannot be read; requests for it are answered 502"),
            Wrong::WithoutApplication => f.write_str("its application is not there"),
            Wrong::Left(_) => f.write_str("is left of a webhook that is not there"),
            Wrong::OldSecret(..) => f.write_str("holds a secret that no repeat gets any more"),
            Wrong::Index {
                readable: false,
                lacking,
                ..
            } => write!(f, "cannot be read; {} ids belong there", lacking.len()),
            Wrong::Index { lacking, gone, .. } => write!(
                f,
                "{} ids lack, {} are without a document",
                lacking.len(),
                gone.len()
            ),
        }
    }
}

impl Finding {
    fn is_about_an_index(&self) -> bool {
        matches!(self.wrong, Wrong::Index { .. })
    }

    fn is_for_a_person(&self) -> bool {
        matches!(self.wrong, Wrong::Unreadable | Wrong::WithoutApplication)
    }

    /// What of this was found before too. An index may have changed in between, and still lack
    /// the same ids.
    fn confirmed(self, before: &[Self]) -> Option<Self> {
        let kind = mem::discriminant(&self.wrong);
        let earlier = before
            .iter()
            .find(|it| it.key == self.key && mem::discriminant(&it.wrong) == kind)?;
        let (key, same) = (self.key.clone(), self == *earlier);
        match (self.wrong, &earlier.wrong) {
            (
                Wrong::Index {
                    readable,
                    lacking,
                    gone,
                },
                Wrong::Index {
                    lacking: lacked,
                    gone: were_gone,
                    ..
                },
            ) => {
                let (lacking, gone) = (&lacking & lacked, &gone & were_gone);
                (!readable || !lacking.is_empty() || !gone.is_empty()).then_some(Self {
                    key,
                    wrong: Wrong::Index {
                        readable,
                        lacking,
                        gone,
                    },
                })
            }
            (wrong, _) => same.then_some(Self { key, wrong }),
        }
    }

    /// Whether it was repaired; not, when there is nothing to do any more.
    fn repair(&self, documents: &Documents, state_dir: &Path) -> Result<bool> {
        match &self.wrong {
            Wrong::Unreadable | Wrong::WithoutApplication => Ok(false),
            Wrong::Left(read) => {
                keep_copy(state_dir, &self.key, read)?;
                documents.replace(&self.key, Some(read), None)
            }
            // No copy: the secret is to go.
            Wrong::OldSecret(read, without) => {
                documents.replace(&self.key, Some(read), Some(without))
            }
            Wrong::Index { lacking, gone, .. } => loop {
                // Requests may change it all the time: what they wrote stays.
                let read = documents.get(&self.key)?;
                let listed = match &read {
                    Some(document) => serde_json::from_slice::<Vec<Value>>(document).ok(),
                    None => Some(Vec::new()),
                };
                if let (None, Some(unreadable)) = (&listed, &read) {
                    keep_copy(state_dir, &self.key, unreadable)?;
                }
                let mut entries = listed.clone().unwrap_or_default();
                entries.retain(|entry| entry_id(entry).is_none_or(|id| !gone.contains(id)));
                let ids: BTreeSet<&str> = entries.iter().filter_map(entry_id).collect();
                let lacking = lacking.iter().filter(|id| !ids.contains(id.as_str()));
                // Without the time of creation, as earlier releases wrote it: the next list adds it.
                let lacking: Vec<Value> = lacking.map(|id| json!(id)).collect();
                entries.extend(lacking);
                if listed.as_ref() == Some(&entries) {
                    return Ok(false);
                }
                let new = (!entries.is_empty()).then(|| json!(entries).to_string().into_bytes());
                if documents.replace(&self.key, read.as_deref(), new.as_deref())? {
                    return Ok(true);
                }
            },
        }
    }
}

/// Before anything is lost: the copy is on the disk when this returns.
fn keep_copy(state_dir: &Path, key: &str, value: &[u8]) -> Result<()> {
    let path = state_dir.join(COPIES);
    let line = json!({"key": key, "base64": Base64::encode_string(value)});
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options
        .open(&path)
        .with_context(|| format!("{} cannot be written", path.display()))?;
    file.write_all(format!("{line}\n").as_bytes())?;
    Ok(file.sync_all()?)
}

fn readable<T: DeserializeOwned>(document: &[u8]) -> bool {
    serde_json::from_slice::<T>(document).is_ok()
}

/// Reads the whole store.
fn findings(documents: &Documents) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    let mut applications: BTreeSet<String> = BTreeSet::new();
    let mut members: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut webhooks: BTreeSet<(String, String)> = BTreeSet::new();
    let mut indexes: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut rests: Vec<(String, String, String, Vec<u8>)> = Vec::new();
    let mut unreadable_webhooks: BTreeSet<String> = BTreeSet::new();

    for key in documents.keys()? {
        let Some(document) = documents.get(&key)? else {
            continue;
        };
        let parts: Vec<&str> = key.split('/').collect();
        let good = match parts[..] {
            ["application", id] => {
                applications.insert(id.to_owned());
                let created = serde_json::from_slice::<ApplicationRecord>(&document);
                if let Ok(created) = &created {
                    let index = keys::applications(&created.merchant_id);
                    members.entry(index).or_default().insert(id.to_owned());
                }
                created.is_ok()
            }
            ["webhook", application, id] => {
                webhooks.insert((application.to_owned(), id.to_owned()));
                let ids = ApplicationId::parse(application).zip(WebhookId::parse(id));
                let created = serde_json::from_slice::<WebhookRecord>(&document).ok();
                let good = ids
                    .zip(created)
                    .is_some_and(|((application, id), created)| {
                        created.belongs_under(&application, id)
                    });
                if good {
                    let index = format!("webhooks/{application}");
                    members.entry(index).or_default().insert(id.to_owned());
                } else {
                    unreadable_webhooks.insert(key.clone());
                }
                good
            }
            ["application-settings", _] => readable::<ApplicationSettings>(&document),
            ["application-name", _, _] => readable::<Claim>(&document),
            [
                "webhook-settings" | "webhook-secrets" | "webhook-test",
                application,
                id,
            ] => {
                let good = match parts[0] {
                    "webhook-settings" => readable::<WebhookSettings>(&document),
                    "webhook-secrets" => readable::<Rotations>(&document),
                    _ => readable::<LastTest>(&document),
                };
                let (application, id) = (application.to_owned(), id.to_owned());
                rests.push((key.clone(), application, id, document));
                good
            }
            ["webhooks" | "applications", _] => {
                indexes.insert(key.clone(), document);
                true
            }
            ["idempotency", _] => {
                let good = readable::<Value>(&document);
                if let Some(without) = idempotency::without_old_secret(&document, Timestamp::now())
                {
                    found.push(Finding {
                        key: key.clone(),
                        wrong: Wrong::OldSecret(document, without),
                    });
                }
                good
            }
            ["changes", _] => readable::<Value>(&document),
            // Of others who share the store.
            _ => true,
        };
        if !good {
            found.push(Finding {
                key,
                wrong: Wrong::Unreadable,
            });
        }
    }

    for (application, id) in &webhooks {
        if !applications.contains(application) {
            found.push(Finding {
                key: format!("webhook/{application}/{id}"),
                wrong: Wrong::WithoutApplication,
            });
        }
    }
    for (key, application, id, document) in rests {
        if !webhooks.contains(&(application, id)) {
            found.push(Finding {
                key,
                wrong: Wrong::Left(document),
            });
        }
    }
    let names: BTreeSet<String> = indexes.keys().chain(members.keys()).cloned().collect();
    for key in names {
        let there = members.remove(&key).unwrap_or_default();
        let read = indexes.remove(&key);
        found.extend(index(key, &there, read, &unreadable_webhooks));
    }
    Ok(found)
}

/// The id of an index's entry: the entry itself, as earlier releases wrote it, or its member.
pub fn entry_id(entry: &Value) -> Option<&str> {
    entry.as_str().or_else(|| entry["id"].as_str())
}

/// What is wrong with one index, if something is: ids that lack, ids without a document.
fn index(
    key: String,
    there: &BTreeSet<String>,
    read: Option<Vec<u8>>,
    unreadable: &BTreeSet<String>,
) -> Option<Finding> {
    let listed: Option<Vec<Value>> = match &read {
        Some(document) => serde_json::from_slice(document).ok(),
        None => Some(Vec::new()),
    };
    let scope = key.strip_prefix("webhooks/");
    // A webhook that cannot be read is not for us to forget.
    let is_there = |id: &String| {
        let document = scope.map(|scope| format!("webhook/{scope}/{id}"));
        there.contains(id) || document.is_some_and(|document| unreadable.contains(&document))
    };
    let readable = listed.is_some();
    let entries = listed.unwrap_or_default();
    let ids = entries.iter().filter_map(entry_id).map(str::to_owned);
    let ids: BTreeSet<String> = ids.collect();
    // An application that cannot be read has no merchant: its place in a list stays.
    let gone = ids.iter().filter(|id| scope.is_some() && !is_there(id));
    let gone: BTreeSet<String> = gone.cloned().collect();
    let lacking = there - &ids;
    let sound = readable && gone.is_empty() && lacking.is_empty();
    (!sound).then_some(Finding {
        key,
        wrong: Wrong::Index {
            readable,
            lacking,
            gone,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: &str = "11111111-1111-4111-8111-111111111111";
    const LOST: &str = "22222222-2222-4222-8222-222222222222";
    const GONE: &str = "33333333-3333-4333-8333-333333333333";
    const TORN: &str = "44444444-4444-4444-8444-444444444444";

    fn dated(id: &str) -> Value {
        json!({"id": id, "createdAt": "2026-01-15T08:00:00.000Z"})
    }

    fn webhook(id: &str) -> String {
        json!({
            "v": 1, "id": id, "applicationId": "a", "url": "https://example.com/",
            "isActive": true, "subscribedEvents": [],
            "secret": {"fingerprint": "f", "sealed": "s"}, "createdAt": "2026-01-15T08:00:00.000Z"
        })
        .to_string()
    }

    #[test]
    fn a_damaged_store_is_put_right_and_nothing_of_a_merchant_is_lost() {
        let torn = &webhook(TORN)[..40];
        let (state, store) = crate::store::tests::filled(
            "doctor",
            &[
                ("application/a", r#"{"merchantId":"m"}"#),
                (&format!("webhook/a/{KEPT}"), &webhook(KEPT)),
                (&format!("webhook/a/{LOST}"), &webhook(LOST)),
                (&format!("webhook/a/{TORN}"), torn),
                (
                    "webhooks/a",
                    &json!([dated(KEPT), dated(GONE), TORN]).to_string(),
                ),
                ("webhooks/b", "not json"),
                (&format!("webhook-secrets/a/{GONE}"), r#"{"rotations":[]}"#),
                ("others/x", "not ours"),
            ],
        );
        let found = findings(&store).expect("read the store");
        // The webhooks' index, the merchant's, the unreadable one, the torn one, the rest.
        assert_eq!(found.len(), 5, "{found:?}");

        let left = examine(&state, true, |_| true).expect("repair");
        assert_eq!(
            left,
            ExitCode::FAILURE,
            "what cannot be read is for a person"
        );
        let found = findings(&store).expect("read the store");
        let torn_one = Finding {
            key: format!("webhook/a/{TORN}"),
            wrong: Wrong::Unreadable,
        };
        assert_eq!(found, [torn_one]);
        let get = |key: &str| store.get(key).expect("get");
        let index = get("webhooks/a").expect("an index");
        let expected = json!([dated(KEPT), TORN, LOST]);
        assert_eq!(index, expected.to_string().into_bytes());
        assert_eq!(
            get(&format!("webhook/a/{TORN}")),
            Some(torn.as_bytes().to_vec())
        );
        assert_eq!(get(&format!("webhook-secrets/a/{GONE}")), None);
        let copies = std::fs::read_to_string(state.join(COPIES)).expect("copies");
        for (key, value) in [
            (format!("webhook-secrets/a/{GONE}"), r#"{"rotations":[]}"#),
            ("webhooks/b".to_owned(), "not json"),
        ] {
            let line = json!({"key": key, "base64": Base64::encode_string(value.as_bytes())});
            assert!(copies.contains(&line.to_string()), "{copies}");
        }
        assert_eq!(get("others/x"), Some(b"not ours".to_vec()));
    }

    #[test]
    fn a_secret_that_no_repeat_gets_any_more_is_removed_without_a_copy() {
        let record = |at: &str| json!({"v": 1, "request": "r", "generation": 2, "at": at, "response": "sealed"});
        let (old, young) = (
            record("2026-01-15T08:00:00.000Z"),
            record(&Timestamp::now().to_string()),
        );
        let (state, store) = crate::store::tests::filled(
            "doctor-secret",
            &[
                ("idempotency/old", &old.to_string()),
                ("idempotency/young", &young.to_string()),
            ],
        );
        let left = examine(&state, true, |_| true).expect("repair");
        assert_eq!(left, ExitCode::SUCCESS);
        let get = |key: &str| {
            let document = store.get(key).expect("get").expect("there");
            serde_json::from_slice::<Value>(&document).expect("JSON")
        };
        let cleared = get("idempotency/old");
        assert_eq!(cleared.get("response"), None, "{cleared}");
        assert_eq!(cleared["generation"], 2);
        assert_eq!(get("idempotency/young"), young);
        assert!(!state.join(COPIES).exists());
    }

    #[test]
    fn what_a_request_wrote_meanwhile_stays() {
        let left = format!("webhook-secrets/a/{GONE}");
        let (state, store) = crate::store::tests::filled(
            "doctor-race",
            &[
                ("application/a", r#"{"merchantId":"m"}"#),
                (&format!("webhook/a/{LOST}"), &webhook(LOST)),
                ("webhooks/a", &json!([KEPT]).to_string()),
                (&left, r#"{"rotations":[]}"#),
            ],
        );
        let found = findings(&store).expect("read the store");
        let finding = |key: &str| found.iter().find(|it| it.key == key).expect("is found");
        let write = |key: &str, new: &[u8]| {
            let read = store.get(key).expect("get");
            let written = store.replace(key, read.as_deref(), Some(new));
            assert!(written.expect("a request"));
        };

        write("webhooks/a", json!([KEPT, TORN]).to_string().as_bytes());
        let index = finding("webhooks/a");
        assert!(index.repair(&store, &state).expect("repair"));
        let ids = json!([TORN, LOST]).to_string().into_bytes();
        assert_eq!(store.get("webhooks/a").expect("get"), Some(ids));
        assert!(!index.repair(&store, &state).expect("nothing to do"));

        write(&left, b"{}");
        assert!(!finding(&left).repair(&store, &state).expect("repair"));
        assert_eq!(store.get(&left).expect("get"), Some(b"{}".to_vec()));
    }

    #[test]
    fn an_index_that_changes_all_the_time_is_wrong_where_the_same_ids_lack() {
        let finding = |lacking: &[&str]| Finding {
            key: "webhooks/a".to_owned(),
            wrong: Wrong::Index {
                readable: true,
                lacking: lacking.iter().map(|&id| id.to_owned()).collect(),
                gone: BTreeSet::new(),
            },
        };
        let before = [finding(&[KEPT, LOST])];
        assert_eq!(
            finding(&[LOST, TORN]).confirmed(&before),
            Some(finding(&[LOST]))
        );
        assert_eq!(finding(&[TORN]).confirmed(&before), None);
        assert_eq!(finding(&[TORN]).confirmed(&[]), None);
    }

    #[test]
    fn a_document_that_is_wrong_in_two_ways_is_found_in_both() {
        let left = format!("webhook-settings/a/{GONE}");
        let (_, store) = crate::store::tests::filled("doctor-both", &[(&left, "{}")]);
        let found = findings(&store).expect("read the store");
        assert_eq!(found.len(), 2, "{found:?}");
        for finding in &found {
            assert_eq!(finding.clone().confirmed(&found).as_ref(), Some(finding));
        }
    }
}
