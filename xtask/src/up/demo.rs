//! The demo application: what a fresh store has, so that there is something to try.

use std::path::Path;

use anyhow::Result;
use application_webhooks::model::application::{ApplicationName, ApplicationRecord};
use application_webhooks::model::ids::{ApplicationId, MerchantId};
use application_webhooks::model::time::Timestamp;
use application_webhooks::store::keys;
use serde::Serialize;
use serde_json::{Value, json};

use crate::store;

/// The demo application's id.
pub const APPLICATION: &str = "demo";

/// The merchant that owns it in a fresh store.
pub const MERCHANT: &str = "demo-merchant";

const NAME: &str = "Demo";

/// Adds the demo application to what is put into the store, as far as it is not there already, and
/// returns the merchant that owns it: the application with its name, and its place in the
/// merchant's list.
pub fn ensure(state_dir: &Path, pairs: &mut Vec<String>) -> Result<String> {
    let id: ApplicationId = serde_json::from_value(json!(APPLICATION))?;
    let key = keys::application(&id);
    let stored = match value(state_dir, pairs, &key) {
        Ok(stored) => stored,
        Err(error) => {
            eprintln!("The demo application is left as it is: the store cannot be read ({error})");
            return Ok(MERCHANT.to_owned());
        }
    };
    let merchant = match &stored {
        Some(document) => owner(document),
        None => MerchantId::parse(MERCHANT),
    };
    let Some(merchant) = merchant else {
        // Somebody's own, and not to be read.
        return Ok(MERCHANT.to_owned());
    };
    if stored.is_none() {
        let name: ApplicationName = serde_json::from_value(json!(NAME))?;
        let application: ApplicationRecord = serde_json::from_value(json!({
            "merchantId": merchant, "name": name, "createdAt": Timestamp::now(),
        }))?;
        pairs.push(pair_of(&keys::application_name(&merchant, &name), &id)?);
        pairs.push(pair_of(&key, &application)?);
    }
    let index = keys::applications(&merchant);
    let listed = match value(state_dir, pairs, &index)? {
        Some(document) => serde_json::from_slice::<Vec<Value>>(&document).ok(),
        None => Some(Vec::new()),
    };
    let is_listed = |entries: &[Value]| {
        let mut ids = entries.iter().filter_map(entry_id);
        ids.any(|listed| listed == APPLICATION)
    };
    // One that cannot be read is for the doctor.
    if let Some(mut listed) = listed.filter(|entries| !is_listed(entries)) {
        // Without the time of creation: the first list adds it.
        listed.push(json!(id));
        pairs.push(pair_of(&index, &listed)?);
    }
    Ok(merchant.as_str().to_owned())
}

/// The merchant that an application's document names.
pub fn owner(document: &[u8]) -> Option<MerchantId> {
    let application: Value = serde_json::from_slice(document).ok()?;
    MerchantId::parse(application["merchantId"].as_str()?)
}

/// What a key will have when the service starts: the last of the pairs wins.
fn value(state_dir: &Path, pairs: &[String], key: &str) -> Result<Option<Vec<u8>>> {
    let mut given = pairs.iter().rev().filter_map(|pair| pair.split_once('='));
    match given.find(|(name, _)| *name == key) {
        Some((_, value)) => Ok(Some(value.as_bytes().to_vec())),
        None => store::get(state_dir, key),
    }
}

/// The id of an index's entry: the entry itself, as earlier releases wrote it, or its member.
fn entry_id(entry: &Value) -> Option<&str> {
    entry.as_str().or_else(|| entry["id"].as_str())
}

fn pair_of(key: &str, document: &impl Serialize) -> Result<String> {
    Ok(format!("{key}={}", serde_json::to_string(document)?))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// Puts the pairs into a store, as the runtimes do with `--key-value`.
    fn start(name: &str, pairs: &[String]) -> PathBuf {
        let pairs: Vec<_> = pairs.iter().filter_map(|it| it.split_once('=')).collect();
        store::tests::filled(name, &pairs)
    }

    fn listed(state: &Path, merchant: &str) -> Value {
        let merchant = MerchantId::parse(merchant).expect("a merchant");
        let index = store::get(state, &keys::applications(&merchant)).expect("get");
        serde_json::from_slice(&index.expect("an index")).expect("JSON")
    }

    #[test]
    fn a_fresh_store_has_the_demo_application_by_name_in_its_list() {
        let mut pairs = vec!["a=b".to_owned()];
        let empty = crate::keys::tests::scratch("demo-empty");
        assert_eq!(
            ensure(&empty, &mut pairs).expect("the demo"),
            "demo-merchant"
        );
        assert_eq!(pairs[0], "a=b");
        let state = start("demo-fresh", &pairs);
        assert_eq!(listed(&state, "demo-merchant"), json!(["demo"]));
        let application = store::get(&state, "application/demo").expect("get");
        let application: Value =
            serde_json::from_slice(&application.expect("an application")).expect("JSON");
        assert_eq!(application["name"], "Demo");
        assert!(application["createdAt"].is_string(), "{application}");

        // And the next start changes nothing.
        let mut pairs = Vec::new();
        assert_eq!(
            ensure(&state, &mut pairs).expect("the demo"),
            "demo-merchant"
        );
        assert_eq!(pairs, [""; 0]);
    }

    #[test]
    fn a_demo_application_of_somebodys_own_is_only_listed() {
        // An earlier `up` made it without a name, and left it out of the list.
        for (name, others) in [("demo-alone", json!([])), ("demo-others", json!(["shop"]))] {
            let merchant = MerchantId::parse("by hand").expect("a merchant");
            let stored = [
                r#"application/demo={"merchantId":"by hand"}"#.to_owned(),
                format!("{}={others}", keys::applications(&merchant)),
            ];
            let state = start(name, &stored);
            let mut pairs = Vec::new();
            assert_eq!(ensure(&state, &mut pairs).expect("the demo"), "by hand");
            let mut expected = others.as_array().cloned().expect("a list");
            expected.push(json!("demo"));
            let index = format!("{}={}", keys::applications(&merchant), json!(expected));
            assert_eq!(pairs, [index]);
        }
        // Given on the command line, it wins over the store and over ours.
        let state = crate::keys::tests::scratch("demo-given");
        let mut pairs = vec![r#"application/demo={"merchantId":"mine"}"#.to_owned()];
        assert_eq!(ensure(&state, &mut pairs).expect("the demo"), "mine");
        assert_eq!(pairs.len(), 2);
        assert!(pairs[1].ends_with(r#"=["demo"]"#), "{pairs:?}");
    }
}
