//! Secrets that are under a previous key are encrypted with `secrets_key`.
//!
//! The document that makes a webhook exist is never written: a delete may come between its being
//! read and its being written, and would be undone. All of a webhook's secrets, the first one too,
//! come to stand in the document of its rotations, which merges by union. Records of
//! `Idempotency-Key` are left as they are: they are over after 24 hours.

use super::access::{Access, CHUNK};
use super::report::{Done, Report};
use crate::concurrency::try_join_bounded;
use crate::fault::Fault;
use crate::model::encryption::SecretsKey;
use crate::model::ids::{ApplicationId, WebhookId};
use crate::model::rotation::Rotations;
use crate::model::time::Timestamp;
use crate::model::webhook::WebhookRecord;
use crate::store::compensation::compensate;
use crate::store::idempotency;
use crate::store::keys::{self, Named};
use crate::store::rotations::{RotationsDocument, Written};
use crate::store::webhooks;

/// How many passes are made before it is said that something goes on writing under an old key.
const MAX_PASSES: u32 = 10;

/// The work of `POST /operator/v1/reencrypt`.
pub struct Reencryption {
    access: Access,
    report: Report,
    key: &'static SecretsKey,
}

/// What a pass did.
#[derive(Default)]
struct Pass {
    resealed: usize,
    /// The keys of documents with a secret that no key opens.
    unopened: Vec<String>,
    repeats: usize,
    previous_key_needed_until: Option<Timestamp>,
}

impl Reencryption {
    /// Work on this store with these keys.
    pub fn new(access: Access, report: Report, key: &'static SecretsKey) -> Self {
        Self {
            access,
            report,
            key,
        }
    }

    /// Makes passes until one finds nothing to encrypt anew: a request that read the rotations
    /// before they were written can have put back what was there.
    ///
    /// # Errors
    ///
    /// The store's failure.
    pub async fn run(&self) -> Result<Done, Fault> {
        let mut resealed = 0;
        for number in 1.. {
            let pass = self.pass(number).await?;
            resealed += pass.resealed;
            if pass.resealed > 0 && number < MAX_PASSES {
                continue;
            }
            let message = "has a secret that no configured key opens, or cannot be read";
            for key in &pass.unopened {
                self.report.finding(key, "unopened", message);
            }
            return Ok(Done {
                found: resealed + pass.unopened.len(),
                repaired: resealed - pass.resealed,
                left: pass.resealed + pass.unopened.len(),
                repeats: Some(pass.repeats),
                previous_key_needed_until: pass.previous_key_needed_until,
            });
        }
        unreachable!("a pass is the last")
    }

    async fn pass(&self, number: u32) -> Result<Pass, Fault> {
        let step = |what: &str| format!("pass {number}: {what}");
        self.report.progress(&step("listing keys"), 0, 0);
        let keys = self.access.keys().await?;
        let (mut webhooks, mut records) = (Vec::new(), Vec::new());
        for key in keys {
            match Named::parse(&key) {
                Some(Named::Webhook(application, id)) => webhooks.push((application, id)),
                Some(Named::Idempotency) => records.push(key),
                _ => {}
            }
        }
        let mut pass = Pass::default();
        for (number, chunk) in webhooks.chunks(CHUNK).enumerate() {
            let read = step("reading webhooks");
            self.report.progress(&read, number * CHUNK, webhooks.len());
            let all = chunk
                .iter()
                .map(|(application, id)| self.webhook(application, *id));
            for seen in try_join_bounded(all).await? {
                pass.resealed += usize::from(seen.is_resealed);
                pass.unopened.extend(seen.unopened);
            }
        }
        let now = Timestamp::now();
        for (number, chunk) in records.chunks(CHUNK).enumerate() {
            let read = step("reading repeats");
            self.report.progress(&read, number * CHUNK, records.len());
            let look = async || {
                let looks = chunk.iter().map(|key| {
                    idempotency::previous_key_needed_until(&self.access.store, key, self.key, now)
                });
                try_join_bounded(looks).await
            };
            let needed = self.access.run("reading repeats", look).await?;
            for until in needed.into_iter().flatten() {
                pass.repeats += 1;
                pass.previous_key_needed_until = pass.previous_key_needed_until.max(Some(until));
            }
        }
        Ok(pass)
    }

    /// Encrypts a webhook's secrets anew.
    ///
    /// Why this is safe beside requests, and can be cut off and repeated: rotations are a set. What
    /// is written is the union of what was read a moment ago and of the secrets under the new key,
    /// and of two encryptions of one secret the later one counts. A rotation that comes between our
    /// read and our write is overwritten; its request looks again after its response and writes the
    /// union back, in which ours stays. One that was read before our write and is written after it
    /// brings back the old encryption, which opens as long as the previous key is there, and the
    /// next pass finds it. A webhook that is deleted in between has its rotations removed by
    /// whoever comes later: the delete removes them after the webhook, and we look for the webhook
    /// after each write.
    async fn webhook(&self, application: &ApplicationId, id: WebhookId) -> Result<Seen, Fault> {
        let store = &self.access.store;
        let document = RotationsDocument::of(store, application, id);
        let record_key = keys::webhook(application, id);
        let read = async || {
            let record: Option<WebhookRecord> = store.get_document(&record_key).await?;
            Ok((record, document.read().await?))
        };
        let (record, rotations) = match self.access.run("reading a webhook", read).await {
            // Which of the two, the doctor says.
            Err(Fault::Unreadable(_)) => {
                return Ok(Seen {
                    is_resealed: false,
                    unopened: Some(record_key),
                });
            }
            read => read?,
        };
        let Some(record) = record else {
            return Ok(Seen::default());
        };
        let mut rotations = rotations.unwrap_or_default();
        let now = Timestamp::now();
        rotations.prune(now);
        let resealed = rotations.reseal(self.key, id, &record.secret, now);
        let unopened = (resealed.unopened > 0).then_some(record_key);
        let is_resealed = match resealed.rotations {
            Some(rotations) => {
                let deadline = self.access.deadline.renew();
                let request_id = &self.access.request_id;
                let note = webhooks::note_change(store, application, id, &deadline, request_id);
                deadline.run("noting a change", note).await?;
                self.write(document, rotations).await?
            }
            None => false,
        };
        Ok(Seen {
            is_resealed,
            unopened,
        })
    }

    /// Returns whether the webhook was still there.
    async fn write(
        &self,
        document: RotationsDocument,
        mut rotations: Rotations,
    ) -> Result<bool, Fault> {
        let deadline = self.access.deadline.renew();
        let written = deadline
            .run("encrypting secrets anew", document.keep_all(&mut rotations))
            .await;
        match written {
            Ok(kept) => Ok(kept == Written::Kept),
            Err(error) => {
                // What was cut off may take effect late, after a rotation or a delete.
                let request_id = &self.access.request_id;
                compensate(error.is_timeout(), &deadline, request_id, async move || {
                    document.keep_all(&mut rotations).await.map(drop)
                });
                Err(error)
            }
        }
    }
}

/// What became of a webhook.
#[derive(Default)]
struct Seen {
    is_resealed: bool,
    /// The key of its document with a secret that no key opens.
    unopened: Option<String>,
}
