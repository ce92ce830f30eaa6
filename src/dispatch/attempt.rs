//! One attempt of a delivery, from its claim to what is to be recorded of it.

use std::rc::Rc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::delivery::{ATTEMPT_DEADLINE, Attempt, AttemptHeaders, Delivery, Failure};
use super::dispatcher::Dispatcher;
use super::endpoints::{Consequence, Reach, Ticket};
use super::operational::{About, Operational};
use super::state::Ended;
use super::watch::Observed;
use crate::events::database::{ClaimedDelivery, Effect, Held, NewAttempt, Postponement, Record};
use crate::fault::Fault;
use crate::log;
use crate::model::delivery::{AttemptError, AttemptTrigger};
use crate::model::delivery_state::{Decision, Outcome, State};
use crate::model::ids::WebhookId;
use crate::model::retry_after;
use crate::model::scrub::scrub;
use crate::model::time::Timestamp;
use crate::model::webhook::Webhook;
use crate::runtime::chance;
use crate::store::deadline::Deadline;
use crate::store::recipients::{self, Recipient};

/// How much of an endpoint's answer is kept, in bytes.
pub const KEPT_BYTES: usize = 4096;

/// After how long a delivery is due again that nobody could try, because the store failed.
const STORE_PAUSE: Duration = Duration::from_secs(5);

/// How much longer than the attempt that tries their endpoint again the other deliveries move back:
/// until that has ended, however it ends.
const PROBE_TIME: Duration = Duration::from_secs(20);

/// How many deliveries one statement moves.
const MOVED_AT_ONCE: u32 = 500;

/// What came of a claimed delivery.
pub(super) enum Tried {
    /// This is to be recorded, that is known of the endpoint, and that of the webhook.
    Done(Box<Record>, Reach, Observed),
    /// It could not be tried: it is due again at that moment.
    PutOff(Held, Timestamp),
}

/// An attempt that was made.
pub(super) struct Made {
    /// What is recorded of it.
    pub attempt: NewAttempt,
    /// Why it failed; `None`: it succeeded.
    pub failure: Option<Failure>,
    /// When it ended.
    pub ended_at: Timestamp,
}

impl Dispatcher {
    /// Makes the attempt that was claimed, and records what came of it. `known` is whom it is for,
    /// where that was read just now.
    pub(super) async fn deliver(
        self: Rc<Self>,
        claimed: ClaimedDelivery,
        ticket: Ticket,
        until: Timestamp,
        known: Option<Recipient>,
    ) {
        let webhook = claimed.held.key.webhook_id;
        let about = About {
            application: claimed.application_id.clone(),
            webhook,
        };
        let event_type = claimed.event_type.clone();
        let tried = self.attempt(claimed, known).await;
        let reach = match &tried {
            Tried::Done(_, reach, _) => *reach,
            Tried::PutOff(..) => Reach::Untried,
        };
        let now = Timestamp::now();
        let (was_busy, consequence) = {
            let mut endpoints = self.endpoints.borrow_mut();
            (
                endpoints.is_busy(webhook, now),
                endpoints.end(ticket, reach, now),
            )
        };
        if was_busy {
            self.nudge();
        }
        match tried {
            Tried::Done(record, _, observed) => {
                // Before the record: whose process dies in between, it is begun again by its lease's end.
                if let Some(exhausted) = Operational::exhausted(&record, event_type) {
                    self.announce_exhausted(&about, exhausted).await;
                }
                self.ended.borrow_mut().push(Ended {
                    record: *record,
                    until,
                });
                self.record_ended().await;
                self.observe(about, observed);
            }
            Tried::PutOff(held, due) => {
                if let Err(error) = self.database.release(&[held], due).await {
                    log::task("a delivery waits for its lease to end", &error);
                }
            }
        }
        if let Err(error) = self.move_others(webhook, consequence, now).await {
            log::task("an endpoint's other deliveries stay as they are", &error);
        }
    }

    async fn attempt(
        self: &Rc<Self>,
        mut claimed: ClaimedDelivery,
        known: Option<Recipient>,
    ) -> Tried {
        let (recipient, enabled) = match self.read(&claimed, known).await {
            Ok(read) => read,
            // What cannot be read is the operator's to repair, within the schedule.
            Err(error @ Fault::Unreadable(_)) => return self.failed(claimed, "", &error),
            Err(error) => {
                log::task("a delivery is put off", &error);
                return Tried::PutOff(claimed.held, Timestamp::now().plus(STORE_PAUSE));
            }
        };
        let now = Timestamp::now();
        let standing = recipient.standing(enabled);
        let body = claimed.body.take();
        let schedule = &self.events.retry_schedule;
        let progress = claimed.progress;
        // A step that is skipped makes no request that could come together with others.
        match progress.before_attempt(standing, body.is_some(), schedule, now, 0) {
            Decision::Skip(state) => {
                let observed = Observed::of_skipped(&recipient);
                Tried::of(claimed.held, None, state, Reach::Untried, observed)
            }
            Decision::Attempt => match (recipient, body) {
                (Recipient::Webhook(webhook), Some(body)) => {
                    self.request(claimed, &webhook, body, now).await
                }
                // Nobody to send to, or nothing to send, is skipped.
                _ => Tried::PutOff(claimed.held, now.plus(STORE_PAUSE)),
            },
        }
    }

    /// Whom the delivery is for, and whether the application's webhooks get deliveries.
    async fn read(
        &self,
        claimed: &ClaimedDelivery,
        known: Option<Recipient>,
    ) -> Result<(Recipient, bool), Fault> {
        if let Some(recipient) = known {
            return Ok((recipient, true));
        }
        let (application, webhook) = (&claimed.application_id, claimed.held.key.webhook_id);
        let deadline = Deadline::with_timeout(self.config.store_timeout);
        let reads = async {
            let recipient = recipients::recipient(&self.store, application, webhook);
            let (recipient, enabled) =
                futures::future::join(recipient, self.is_enabled(application)).await;
            Ok((recipient?, enabled?))
        };
        deadline.run("reading a recipient", reads).await
    }

    /// Signs the delivery and sends it.
    ///
    /// # Errors
    ///
    /// Those of [`Delivery::sign`]: nothing was sent.
    pub(super) async fn send_once(
        &self,
        claimed: &ClaimedDelivery,
        webhook: &Webhook,
        body: String,
        now: Timestamp,
    ) -> Result<Made, Fault> {
        let schedule = &self.events.retry_schedule;
        let id = claimed.held.key.event_id.to_string();
        let signed = Delivery::sign(webhook, id, body.into(), &self.config.secrets_key, now)?;
        let delivery = Delivery {
            attempt: Some(AttemptHeaders {
                number: claimed.held.number,
                left: schedule.attempts().saturating_sub(claimed.progress.step),
            }),
            deadline: ATTEMPT_DEADLINE,
            ..signed
        };
        let attempt = self.sender.send(&delivery).await;
        let ended_at = Timestamp::now();
        Ok(Made {
            failure: attempt.failure,
            attempt: observed(claimed.trigger, delivery, attempt, now, ended_at),
            ended_at,
        })
    }

    /// Makes the attempt, and decides what it does to its delivery.
    async fn request(
        self: &Rc<Self>,
        claimed: ClaimedDelivery,
        webhook: &Webhook,
        body: String,
        now: Timestamp,
    ) -> Tried {
        let schedule = &self.events.retry_schedule;
        let (held, progress) = (&claimed.held, claimed.progress);
        let made = self.send_once(&claimed, webhook, body, now).await;
        let Made {
            attempt,
            failure,
            ended_at,
        } = match made {
            Ok(made) => made,
            Err(error) => return self.failed(claimed, webhook.settings().url, &error),
        };
        let (outcome, jitter) = match failure {
            None => (Outcome::Succeeded, 0),
            Some(_) => {
                let http_status = attempt.http_status_code;
                let retry_after = attempt.retry_after_seconds;
                let failed = Outcome::Failed {
                    http_status,
                    retry_after,
                };
                (failed, jitter())
            }
        };
        let verdict = progress.after_attempt(outcome, schedule, ended_at, jitter);
        let mut observed = Observed::of(attempt.error, webhook.rotations.condition);
        if verdict.endpoint_gone {
            let about = About {
                application: claimed.application_id,
                webhook: held.key.webhook_id,
            };
            match self.disable_gone(&about, &attempt.url, ended_at).await {
                Ok(Some(disabled)) => observed = Observed::Disabled(disabled),
                Ok(None) => {}
                // The next delivery finds the same.
                Err(error) => {
                    log::task("a webhook stays active whose endpoint is gone", &error);
                }
            }
        }
        let reach = match failure {
            Some(failure) if !failure.is_reached() => Reach::Unreached(verdict.state.next_at),
            _ => Reach::Reached,
        };
        Tried::of(claimed.held, Some(attempt), verdict.state, reach, observed)
    }

    /// A failure that is ours takes a step of the schedule too: the operator has that long to repair
    /// what is wrong.
    fn failed(&self, claimed: ClaimedDelivery, url: &str, error: &Fault) -> Tried {
        log::task("a delivery failed", error);
        let now = Timestamp::now();
        let attempt = NewAttempt {
            trigger: claimed.trigger,
            started_at: now,
            duration_ms: 0,
            url: url.to_owned(),
            secret_fingerprints: Vec::new(),
            http_status_code: None,
            error: Some(AttemptError::Internal),
            response_body: None,
            response_body_truncated: false,
            response_sha256: None,
            retry_after_seconds: None,
        };
        let outcome = Outcome::Failed {
            http_status: None,
            retry_after: None,
        };
        let schedule = &self.events.retry_schedule;
        let verdict = claimed
            .progress
            .after_attempt(outcome, schedule, now, jitter());
        let (state, observed) = (verdict.state, Observed::Nothing);
        Tried::of(claimed.held, Some(attempt), state, Reach::Untried, observed)
    }

    /// Moves the endpoint's other deliveries back, or makes them due again.
    pub(super) async fn move_others(
        &self,
        webhook_id: WebhookId,
        consequence: Consequence,
        now: Timestamp,
    ) -> Result<(), Fault> {
        loop {
            let moved = match consequence {
                Consequence::None => return Ok(()),
                Consequence::MoveBack(probe_at) => self.database.postpone(Postponement {
                    webhook_id,
                    now,
                    probe_at,
                    until: probe_at.plus(PROBE_TIME),
                    limit: MOVED_AT_ONCE,
                }),
                Consequence::Resume => self.database.resume(webhook_id, now, MOVED_AT_ONCE),
            };
            if moved.await? < MOVED_AT_ONCE {
                return Ok(());
            }
        }
    }
}

impl Tried {
    fn of(
        held: Held,
        attempt: Option<NewAttempt>,
        state: State,
        reach: Reach,
        observed: Observed,
    ) -> Self {
        let effect = Effect::Scheduled(state);
        let record = Record {
            held,
            attempt,
            effect,
        };
        Self::Done(Box::new(record), reach, observed)
    }
}

/// What is recorded of an attempt that was made.
fn observed(
    trigger: AttemptTrigger,
    delivery: Delivery,
    attempt: Attempt,
    started_at: Timestamp,
    ended_at: Timestamp,
) -> NewAttempt {
    let retry_after = attempt.retry_after.as_deref();
    let shown = attempt.body.as_deref().map(shown);
    let (response_body, response_body_truncated) = shown.unzip();
    NewAttempt {
        trigger,
        started_at,
        duration_ms: attempt.latency.as_millis() as u32,
        url: delivery.url,
        secret_fingerprints: delivery.secret_fingerprints,
        http_status_code: attempt.status,
        error: attempt.failure.map(AttemptError::from),
        response_body,
        response_body_truncated: response_body_truncated.unwrap_or_default(),
        response_sha256: attempt
            .body
            .map(|body| base16ct::lower::encode_string(&Sha256::digest(body))),
        retry_after_seconds: retry_after.and_then(|value| retry_after::parse(value, ended_at)),
    }
}

/// The beginning of an endpoint's answer as text that every database takes, [scrubbed](scrub), and
/// whether there is more.
fn shown(body: &[u8]) -> (String, bool) {
    // What is cut off in the middle of a number or an address would not be recognized: that comes after.
    let mut text = scrub(&String::from_utf8_lossy(body)).replace('\0', "\u{fffd}");
    let end = text.floor_char_boundary(KEPT_BYTES);
    let is_truncated = end < text.len() || body.len() >= super::delivery::MAX_BODY_BYTES;
    text.truncate(end);
    (text, is_truncated)
}

/// How much of the schedule's jitter is added, at random.
pub(super) fn jitter() -> u16 {
    u16::from(chance()) * 257
}

#[cfg(test)]
mod unit_tests {
    use super::*;

    #[test]
    fn four_kib_of_an_answer_are_kept_as_text_without_nul() {
        assert_eq!(shown(b"ok"), ("ok".to_owned(), false));
        assert_eq!(shown(b"a\0b\xff"), ("a\u{fffd}b\u{fffd}".to_owned(), false));
        let (text, is_truncated) = shown("€".repeat(2000).as_bytes());
        assert_eq!((text.len(), is_truncated), (4095, true));
        let (text, is_truncated) = shown(&[b'x'; 4096]);
        assert_eq!((text.len(), is_truncated), (4096, false));
        // A card number that the end would cut in two.
        let body = format!("{}4111111111111111", "x".repeat(4090));
        let (text, is_truncated) = shown(body.as_bytes());
        assert!(text.ends_with("x[card ") && is_truncated, "{text}");
    }
}
