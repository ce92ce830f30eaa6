//! `cargo xtask reencrypt`: what is encrypted with `secrets_key_previous` is written anew under
//! `secrets_key`.
//!
//! The service may run meanwhile, and the command may be stopped and started again. A document is
//! replaced only if it is still what was read, in one statement of SQLite: what a request wrote in
//! between wins, and is read again. A request that read a document before and writes it afterwards
//! can bring a secret back under the previous key, never lose one; so passes are made until one
//! finds nothing.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use application_webhooks::model::encryption::{CannotOpen, Sealed, SecretsKey};
use serde_json::Value;

use crate::store::Documents;
use crate::{keys::Keys, project};

/// How many passes are made before it is said that something goes on writing under the old key.
const MOST_PASSES: u32 = 10;

#[derive(clap::Args)]
pub struct Args {
    /// Where the store is [default: .spin]
    #[arg(long, value_name = "DIRECTORY")]
    state_dir: Option<PathBuf>,
}

/// The keys come from the environment, as the service's do: `SPIN_VARIABLE_SECRETS_KEY` (default:
/// the development key) and `SPIN_VARIABLE_SECRETS_KEY_PREVIOUS`.
pub fn run(args: &Args) -> Result<()> {
    let state_dir = project::state_dir(args.state_dir.as_deref())?;
    let current = match std::env::var("SPIN_VARIABLE_SECRETS_KEY") {
        Ok(key) => key,
        Err(_) => Keys::load(&state_dir)?
            .map(|keys| keys.secrets_key)
            .context("SPIN_VARIABLE_SECRETS_KEY is not set")?,
    };
    let previous = std::env::var("SPIN_VARIABLE_SECRETS_KEY_PREVIOUS")
        .context("SPIN_VARIABLE_SECRETS_KEY_PREVIOUS is not set")?;
    let parse = |name: &str, text: &str| {
        SecretsKey::parse(text).map_err(|problem| anyhow::anyhow!("{name} {problem}"))
    };
    let key = parse("SPIN_VARIABLE_SECRETS_KEY", &current)?;
    let previous = parse("SPIN_VARIABLE_SECRETS_KEY_PREVIOUS", &previous)?;
    let key = key.with_previous(Some(previous));

    let documents = Documents::open(&state_dir)?;
    let mut renewed = 0;
    for _ in 0..MOST_PASSES {
        let pass = pass(&documents, &key)?;
        renewed += pass.renewed;
        if pass.renewed == 0 {
            println!(
                "{renewed} documents renewed, {} can be read with neither key",
                pass.unreadable.len()
            );
            if pass.unreadable.is_empty() {
                return Ok(());
            }
            bail!("left as they are: {}", pass.unreadable.join(", "));
        }
    }
    bail!(
        "{renewed} documents renewed, and others appear under the previous key: restart the \
         service with the new secrets_key, then run this again"
    )
}

#[derive(Default)]
struct Pass {
    renewed: usize,
    unreadable: Vec<String>,
}

fn pass(documents: &Documents, key: &SecretsKey) -> Result<Pass> {
    let mut pass = Pass::default();
    for name in documents.keys()? {
        // What a request changes meanwhile is read again, until it stays.
        while let Some(read) = documents.get(&name)? {
            match renew(&name, &read, key) {
                Ok(None) => break,
                Ok(Some(new)) => {
                    if documents.replace(&name, Some(&read), Some(&new))? {
                        pass.renewed += 1;
                        break;
                    }
                }
                Err(CannotOpen) => {
                    pass.unreadable.push(name.clone());
                    break;
                }
            }
        }
    }
    Ok(pass)
}

/// The document with its secrets under the new key; `None` when they are, or it has none.
fn renew(name: &str, document: &[u8], key: &SecretsKey) -> Result<Option<Vec<u8>>, CannotOpen> {
    let mut parts = name.split('/');
    let (kind, id) = (parts.next(), parts.nth(1));
    let (context, secrets): (&str, &[&str]) = match (kind, id) {
        (Some("webhook"), Some(id)) => (id, &["/secret/sealed"]),
        (Some("webhook-secrets"), Some(id)) => (id, &[]),
        (Some("idempotency"), None) => (name, &["/response"]),
        _ => return Ok(None),
    };
    let mut json: Value = serde_json::from_slice(document).map_err(|_| CannotOpen)?;
    let mut places: Vec<String> = secrets.iter().map(|place| (*place).to_owned()).collect();
    if kind == Some("webhook-secrets") {
        let rotations = json["rotations"].as_array().ok_or(CannotOpen)?.len();
        places.extend((0..rotations).map(|number| format!("/rotations/{number}/secret/sealed")));
    }
    let mut changed = false;
    for place in places {
        let value = match json.pointer_mut(&place) {
            Some(value) => value,
            // `doctor` took the response away.
            None if kind == Some("idempotency") => continue,
            None => return Err(CannotOpen),
        };
        let sealed: Sealed = serde_json::from_value(value.clone()).map_err(|_| CannotOpen)?;
        if let Some(renewed) = key.renew(context, &sealed)? {
            *value = serde_json::to_value(renewed).map_err(|_| CannotOpen)?;
            changed = true;
        }
    }
    Ok(if changed {
        serde_json::to_vec(&json).ok()
    } else {
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64ct::{Base64, Encoding};
    use serde_json::json;

    fn key(byte: u8) -> SecretsKey {
        SecretsKey::parse(&Base64::encode_string(&[byte; 32])).expect("a key")
    }

    #[test]
    fn every_secret_is_renewed_once_and_what_opens_with_neither_key_is_left() {
        let sealed = |key: &SecretsKey, context: &str| json!(key.seal(context, b"secret"));
        let (old, new) = (key(1), key(2).with_previous(Some(key(1))));
        let webhook = json!({"secret": {"sealed": sealed(&old, "w")}, "more": 1});
        let rotations = json!({"rotations": [
            {"secret": {"sealed": sealed(&old, "w")}}, {"secret": {"sealed": sealed(&new, "w")}}
        ]});
        let record = json!({"response": sealed(&old, "idempotency/x")});
        let cleared = json!({"generation": 0}).to_string();
        let foreign = json!({"secret": {"sealed": sealed(&key(3), "w")}}).to_string();
        let (_, store) = crate::store::tests::filled(
            "reencrypt",
            &[
                ("webhook/a/w", &webhook.to_string()),
                ("webhook-secrets/a/w", &rotations.to_string()),
                ("idempotency/x", &record.to_string()),
                ("idempotency/y", &cleared),
                ("webhook/b/w", &foreign),
                ("webhook/c/w", "not json"),
                ("application/a", "{}"),
            ],
        );
        let first = pass(&store, &new).expect("a pass");
        assert_eq!(first.renewed, 3);
        assert_eq!(first.unreadable, ["webhook/b/w", "webhook/c/w"]);
        assert_eq!(pass(&store, &new).expect("a pass").renewed, 0);
        // The old key is not needed any more.
        let alone = pass(&store, &key(2)).expect("a pass");
        assert_eq!(alone.unreadable, ["webhook/b/w", "webhook/c/w"]);
        let kept = store.get("webhook/a/w").expect("get").expect("there");
        let kept: Value = serde_json::from_slice(&kept).expect("JSON");
        assert_eq!(kept["more"], 1);
        assert_eq!(
            store.get("webhook/b/w").expect("get"),
            Some(foreign.into_bytes())
        );
    }
}
