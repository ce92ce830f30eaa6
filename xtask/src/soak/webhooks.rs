//! Clients that create, change, rotate, delete and read webhooks, each its own, and remember what the
//! service acknowledged.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::sleep;

use super::client::{Client, Failure, PATIENCE, Request, random};
use super::faults::{DEADLINE, LATE};

/// How long a delete looks again after its answer, and as long for what it then does. What is back later
/// stays.
const LOOKS: Duration = Duration::from_secs(64 + 10);

/// How many webhooks a worker keeps at most.
const KEPT: usize = 40;

/// What a client can expect of a webhook, by the last response about it.
struct Expected {
    /// The end of its secret. `None`: a rotation ended without an explanation, which was counted.
    fingerprint: Option<String>,
    /// `None`: so did a change; or a write that was given up may undo it, which is no secret's
    /// loss, and which nothing promises to prevent.
    is_active: Option<bool>,
    /// Whether a write of its create may have been cut off, and can take effect after its delete.
    can_return: bool,
}

/// A client that knows its webhooks.
pub struct Worker {
    client: Client,
    expected: BTreeMap<String, Expected>,
    /// With until when each may be there for a moment.
    deleted: Vec<(String, Instant)>,
}

impl Worker {
    pub fn new(client: Client) -> Self {
        Self {
            client,
            expected: BTreeMap::new(),
            deleted: Vec::new(),
        }
    }

    /// Goes on until the load is to end.
    pub async fn work(mut self) -> Self {
        while !self.client.tally.is_stopped() {
            let Some(id) = self.any_webhook() else {
                self.create().await;
                continue;
            };
            match random() % 10 {
                0..2 if self.expected.len() < KEPT => self.create().await,
                0..3 => self.delete(&id).await,
                3..5 => self.rotate(&id).await,
                5..7 => self.change(&id).await,
                7..9 => self.read(&id).await,
                _ => {
                    let _ = self.ask("GET", "?limit=100", None, &[200]).await;
                }
            }
        }
        self
    }

    fn any_webhook(&self) -> Option<String> {
        let number = usize::try_from(random()).ok()? % self.expected.len().max(1);
        self.expected.keys().nth(number).cloned()
    }

    async fn create(&mut self) {
        let body = json!({ "url": "https://merchant.example.com/hooks" });
        let since = Instant::now();
        let has_key = !random().is_multiple_of(2);
        let created = if !has_key {
            // Without a key, what was not answered is forgotten.
            self.ask("POST", "", Some(&body), &[201]).await.ok()
        } else {
            let key = format!("create-{:016x}", random());
            self.retry_until_success("POST", "", Some(&body), Some(&key), &[201])
                .await
        };
        let Some((_, created)) = created else { return };
        self.client.tally.acknowledge();
        let expected = Expected {
            fingerprint: secret_end(&created),
            is_active: Some(true),
            can_return: has_key && self.late_writes(since),
        };
        match created["id"].as_str() {
            Some(id) if expected.fingerprint.is_some() => {
                self.expected.insert(id.to_owned(), expected);
            }
            _ => self
                .client
                .tally
                .lose("a webhook was created without id or secret"),
        }
    }

    async fn rotate(&mut self, id: &str) {
        let key = format!("rotate-{:016x}", random());
        let path = format!("/{id}/rotate");
        let rotated = self
            .retry_until_success("POST", &path, None, Some(&key), &[200])
            .await;
        if rotated.is_some() {
            self.client.tally.acknowledge();
        }
        if let Some(expected) = self.expected.get_mut(id) {
            expected.fingerprint = rotated.and_then(|(_, rotated)| secret_end(&rotated));
        }
    }

    async fn change(&mut self, id: &str) {
        let Some(expected) = self.expected.get(id) else {
            return;
        };
        let is_active = !expected.is_active.unwrap_or_default();
        let body = json!({ "isActive": is_active });
        let since = Instant::now();
        let changed = self
            .retry_until_success("PATCH", &format!("/{id}"), Some(&body), None, &[200])
            .await;
        let stays = changed.is_some() && !self.late_writes(since);
        if let Some(expected) = self.expected.get_mut(id) {
            expected.is_active = stays.then_some(is_active);
        }
    }

    async fn delete(&mut self, id: &str) {
        let expected = self.expected.remove(id);
        // A delete whose answer failed may have taken effect.
        let answer = self
            .retry_until_success("DELETE", &format!("/{id}"), None, None, &[204, 404])
            .await;
        if answer.is_some() {
            let can_return = expected.is_some_and(|expected| expected.can_return);
            let looks = if can_return { LOOKS } else { Duration::ZERO };
            self.deleted.push((id.to_owned(), Instant::now() + looks));
        }
    }

    /// What is read is what was expected: at once, or soon when a write that was given up may take
    /// effect only now, which the service then notices and compensates.
    async fn read(&mut self, id: &str) {
        let since = Instant::now();
        while let Ok((_, webhook)) = self.ask("GET", &format!("/{id}"), None, &[200, 404]).await {
            let Err(problem) = self.compare(id, &webhook) else {
                return;
            };
            if !self.late_writes(since) || since.elapsed() > PATIENCE {
                return self.client.tally.lose(&problem);
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Whether a write that was given up may have taken effect after this moment.
    fn late_writes(&self, since: Instant) -> bool {
        let given_up = since.checked_sub(DEADLINE + LATE).unwrap_or(since);
        self.client
            .tally
            .explains(self.client.origin, Some(504), given_up)
    }

    /// Reports what of the webhook is not as expected.
    fn compare(&self, id: &str, read: &Value) -> Result<(), String> {
        let Some(expected) = self.expected.get(id) else {
            return Ok(());
        };
        let shown = read["keyFingerprint"].as_str();
        let same_secret = expected
            .fingerprint
            .as_ref()
            .is_none_or(|end| shown.is_some_and(|shown| shown.ends_with(end.as_str())));
        let same_state = expected
            .is_active
            .is_none_or(|is_active| read["isActive"] == is_active);
        if read["id"] == id && same_secret && same_state {
            return Ok(());
        }
        Err(format!(
            "{}: expected {:?}, active {:?}; read {read}",
            self.name_of(id),
            expected.fingerprint,
            expected.is_active
        ))
    }

    /// Everything that was acknowledged is there, and in the list; what was deleted is not.
    pub async fn read_back(&mut self) {
        let mut listed = Vec::new();
        for page in 1.. {
            let path = format!("?limit=100&page={page}");
            let Ok((_, list)) = self.ask("GET", &path, None, &[200]).await else {
                break;
            };
            let items = list["items"].as_array().cloned().unwrap_or_default();
            if items.is_empty() {
                break;
            }
            listed.extend(
                items
                    .iter()
                    .filter_map(|it| Some(it["id"].as_str()?.to_owned())),
            );
        }
        let ids: Vec<String> = self.expected.keys().cloned().collect();
        for id in ids {
            self.read(&id).await;
            if !listed.contains(&id) {
                let at = self.name_of(&id);
                self.client.tally.lose(&format!("{at}: is not in the list"));
            }
        }
        for (id, until) in std::mem::take(&mut self.deleted) {
            let is_back = listed.contains(&id) || self.stays(&id, until).await;
            if is_back {
                let at = self.name_of(&id);
                self.client
                    .tally
                    .lose(&format!("{at}: was deleted, and is back"));
            }
        }
    }

    /// Whether a webhook that was deleted is there, and stays until then.
    async fn stays(&mut self, id: &str, until: Instant) -> bool {
        let path = format!("/{id}");
        loop {
            let is_over = Instant::now() >= until;
            match self.ask("GET", &path, None, &[200, 404]).await {
                Ok((200, _)) if is_over => return true,
                Ok((200, _)) => sleep(Duration::from_secs(1)).await,
                _ => return false,
            }
        }
    }

    /// As the store's key has it.
    fn name_of(&self, webhook: &str) -> String {
        format!("webhook/{}/{webhook}", self.client.origin.id())
    }

    async fn retry_until_success(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        key: Option<&str>,
        wanted: &[u16],
    ) -> Option<(u16, Value)> {
        let path = format!("/webhooks{path}");
        let request = Request {
            method,
            path: &path,
            body,
            key,
            wanted,
        };
        self.client.retry_until_success(request).await
    }

    async fn ask(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        wanted: &[u16],
    ) -> Result<(u16, Value), Failure> {
        let path = format!("/webhooks{path}");
        let request = Request {
            method,
            path: &path,
            body,
            key: None,
            wanted,
        };
        self.client.ask(request).await
    }
}

/// What a fingerprint shows of a secret: its last four characters.
fn secret_end(webhook: &Value) -> Option<String> {
    let secret = webhook["signingSecret"].as_str()?;
    Some(secret.get(secret.len().checked_sub(4)?..)?.to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::soak::tally::{self, Origin};

    #[test]
    fn what_was_acknowledged_and_is_not_read_is_lost() {
        let tally = Arc::new(tally::tests::tally());
        let origin = Origin {
            application: 0,
            process: 0,
        };
        let mut worker = Worker::new(Client::new(tally, origin, "a token"));
        let expected = Expected {
            fingerprint: secret_end(&json!({ "signingSecret": "whsec_abcd1234" })),
            is_active: Some(true),
            can_return: false,
        };
        worker.expected.insert("w".to_owned(), expected);
        let lost = |read: Value| worker.compare("w", &read).is_err();
        let read = json!({"id": "w", "keyFingerprint": "whsec_****1234", "isActive": true});
        assert!(!lost(read.clone()));
        for (field, other) in [
            ("id", json!("v")),
            ("keyFingerprint", json!("whsec_****1235")),
            ("isActive", json!(false)),
        ] {
            let mut read = read.clone();
            read[field] = other;
            assert!(lost(read), "{field}");
        }
        assert!(lost(json!({"error": "Not Found"})));
    }
}
