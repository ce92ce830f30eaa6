//! `cargo xtask doctor` and `cargo xtask reindex`: what is wrong in a store, and puts it right.
//!
//! The service may run meanwhile. A document is replaced or removed only if it is still what was
//! read, in one statement of SQLite; what a request changed in between is looked at again in the
//! next pass. An index can be overwritten by a request that read it before: so passes are made
//! until one finds nothing to do.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use application_webhooks::application::{self, ApplicationId};
use application_webhooks::store::keys;
use application_webhooks::webhook::{self, LastTest, Rotations, WebhookId};
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
    examine(&state_dir, true, |finding| finding.is_about_an_index)
}

fn examine(state_dir: &Path, fix: bool, wanted: impl Fn(&Finding) -> bool) -> Result<ExitCode> {
    let documents = Documents::open(state_dir)?;
    let mut found = findings(&documents)?;
    let mut repaired = 0;
    for _ in 0..MOST_PASSES {
        found.retain(|finding| wanted(finding));
        if found.is_empty() {
            break;
        }
        // A request under way may be about to do it: only what is found twice is wrong.
        std::thread::sleep(SETTLE);
        let again = findings(&documents)?;
        found.retain(|finding| again.contains(finding));
        if !fix || found.iter().all(|finding| finding.repair.is_none()) {
            break;
        }
        for finding in &found {
            if finding.repair(&documents, state_dir)? {
                println!("repaired: {}", finding.what);
                repaired += 1;
            }
        }
        found = findings(&documents)?;
    }
    found.retain(|finding| wanted(finding));
    for finding in &found {
        println!("{}", finding.what);
    }
    println!("{} found, {repaired} repaired", found.len() + repaired);
    Ok(if found.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

#[derive(Debug, PartialEq)]
struct Finding {
    what: String,
    is_about_an_index: bool,
    /// `None`: it could be a merchant's data, and a person must decide.
    repair: Option<Repair>,
}

#[derive(Debug, PartialEq)]
struct Repair {
    key: String,
    read: Option<Vec<u8>>,
    new: Option<Vec<u8>>,
}

impl Finding {
    fn unreadable(key: &str) -> Self {
        Self {
            what: format!("{key}: cannot be read; requests for it are answered 502"),
            is_about_an_index: false,
            repair: None,
        }
    }

    /// Whether it was repaired; not, when the document is another by now.
    fn repair(&self, documents: &Documents, state_dir: &Path) -> Result<bool> {
        let Some(Repair { key, read, new }) = &self.repair else {
            return Ok(false);
        };
        if let Some(read) = read {
            keep_copy(state_dir, key, read)?;
        }
        documents.replace(key, read.as_deref(), new.as_deref())
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
                let created = serde_json::from_slice::<application::Created>(&document);
                if let Ok(created) = &created {
                    let index = keys::applications(&created.merchant_id);
                    members.entry(index).or_default().insert(id.to_owned());
                }
                created.is_ok()
            }
            ["webhook", application, id] => {
                webhooks.insert((application.to_owned(), id.to_owned()));
                let ids = ApplicationId::parse(application).zip(WebhookId::parse(id));
                let created = serde_json::from_slice::<webhook::Created>(&document).ok();
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
            ["application-settings", _] => readable::<application::Settings>(&document),
            ["application-name", _, _] => readable::<ApplicationId>(&document),
            [
                "webhook-settings" | "webhook-secrets" | "webhook-test",
                application,
                id,
            ] => {
                let good = match parts[0] {
                    "webhook-settings" => readable::<webhook::Settings>(&document),
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
            ["idempotency", _] | ["changes", _] => readable::<Value>(&document),
            // Of others who share the store.
            _ => true,
        };
        if !good {
            found.push(Finding::unreadable(&key));
        }
    }

    for (application, id) in &webhooks {
        if !applications.contains(application) {
            found.push(Finding {
                what: format!("webhook/{application}/{id}: its application is not there"),
                is_about_an_index: false,
                repair: None,
            });
        }
    }
    for (key, application, id, document) in rests {
        if !webhooks.contains(&(application, id)) {
            found.push(Finding {
                what: format!("{key}: is left of a webhook that is not there"),
                is_about_an_index: false,
                repair: Some(Repair {
                    key,
                    read: Some(document),
                    new: None,
                }),
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

/// What is wrong with one index, if something is: ids that lack, ids without a document.
fn index(
    key: String,
    there: &BTreeSet<String>,
    read: Option<Vec<u8>>,
    unreadable: &BTreeSet<String>,
) -> Option<Finding> {
    let listed: Option<Vec<String>> = match &read {
        Some(document) => serde_json::from_slice(document).ok(),
        None => Some(Vec::new()),
    };
    let scope = key.strip_prefix("webhooks/");
    // A webhook that cannot be read is not for us to forget.
    let is_there = |id: &String| {
        let document = scope.map(|scope| format!("webhook/{scope}/{id}"));
        there.contains(id) || document.is_some_and(|document| unreadable.contains(&document))
    };
    let mut ids = listed.clone().unwrap_or_default();
    let listed_ids = ids.len();
    // An application that cannot be read has no merchant: its place in a list stays.
    if scope.is_some() {
        ids.retain(is_there);
    }
    let gone = listed_ids - ids.len();
    let lacking: Vec<String> = there
        .iter()
        .filter(|id| !ids.contains(id))
        .cloned()
        .collect();
    if listed.is_some() && gone == 0 && lacking.is_empty() {
        return None;
    }
    let what = match listed {
        None => format!("{key}: cannot be read; {} ids belong there", lacking.len()),
        Some(_) => format!(
            "{key}: {} ids lack, {gone} are without a document",
            lacking.len()
        ),
    };
    ids.extend(lacking);
    let new = (!ids.is_empty()).then(|| json!(ids).to_string().into_bytes());
    Some(Finding {
        what,
        is_about_an_index: true,
        repair: Some(Repair { key, read, new }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: &str = "11111111-1111-4111-8111-111111111111";
    const LOST: &str = "22222222-2222-4222-8222-222222222222";
    const GONE: &str = "33333333-3333-4333-8333-333333333333";
    const TORN: &str = "44444444-4444-4444-8444-444444444444";

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
                ("webhooks/a", &json!([KEPT, GONE, TORN]).to_string()),
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
        assert_eq!(found, [Finding::unreadable(&format!("webhook/a/{TORN}"))]);
        let get = |key: &str| store.get(key).expect("get");
        let index = get("webhooks/a").expect("an index");
        assert_eq!(index, json!([KEPT, TORN, LOST]).to_string().into_bytes());
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
    fn what_a_request_changed_meanwhile_is_left_alone() {
        let (state, store) = crate::store::tests::filled(
            "doctor-race",
            &[
                ("application/a", r#"{"merchantId":"m"}"#),
                (&format!("webhook/a/{LOST}"), &webhook(LOST)),
                ("webhooks/a", &json!([KEPT]).to_string()),
            ],
        );
        let found = findings(&store).expect("read the store");
        let stale = found
            .iter()
            .find(|finding| finding.what.starts_with("webhooks/a"))
            .expect("the index");
        let (old, new) = (json!([KEPT]).to_string(), json!([GONE]).to_string());
        let changed = store.replace("webhooks/a", Some(old.as_bytes()), Some(new.as_bytes()));
        assert!(changed.expect("a request"));
        assert!(!stale.repair(&store, &state).expect("repair"));
        assert_eq!(
            store.get("webhooks/a").expect("get"),
            Some(new.into_bytes())
        );
    }
}
