//! One more attempt of a delivery, which somebody asks for and waits for.
//!
//! It has a claim of its own beside the schedule's ([`Database::begin_resend`]), which ends by itself: a
//! process that dies in the middle leaves the delivery as it was, but for the number of its attempt. It
//! takes none of the instance's places, so whoever asks delays nobody's first attempts, and goes also to an
//! endpoint that is left alone: the merchant may just have repaired it.
//!
//! [`Database::begin_resend`]: crate::events::database::Database::begin_resend

use std::rc::Rc;

use super::attempt::Made;
use super::dispatcher::{Dispatcher, LEASE};
use super::endpoints::Consequence;
use super::fan_out::GIVE_BACK_PAUSES;
use super::operational::About;
use super::state::Ended;
use super::watch::Observed;
use crate::events::claim::ClaimToken;
use crate::events::database::{DeliveryKey, Effect, Held, NewAttempt, Record, Resend, ResendBegun};
use crate::fault::Fault;
use crate::log;
use crate::model::delivery::Attempt;
use crate::model::ids::WebhookId;
use crate::model::time::Timestamp;
use crate::model::webhook::Webhook;
use crate::runtime::{after_response, sleep, spawn};

/// What came of asking for an attempt.
pub enum Resent {
    /// It was made.
    Attempt(Box<Attempt>),
    /// Another one is under way.
    InFlight,
    /// The event's data were erased.
    Erased,
    /// There is no such delivery.
    Missing,
}

impl Dispatcher {
    /// Makes an attempt of the delivery now, and records it. What the endpoint did is the result also where
    /// the record fails: it is repeated after that, until the claim ends.
    ///
    /// # Errors
    ///
    /// The database's failure, and that of signing: then nothing was sent.
    pub async fn resend(
        self: &Rc<Self>,
        key: DeliveryKey,
        webhook: &Webhook,
    ) -> Result<Resent, Fault> {
        let now = Timestamp::now();
        let until = now.plus(LEASE);
        let resend = Resend {
            key,
            token: ClaimToken::generate(),
            now,
            until,
        };
        let begun = self.database.begin_resend(&resend).await;
        let mut claimed = match begun {
            Ok(ResendBegun::Begun(claimed)) => claimed,
            Ok(ResendBegun::InFlight) => return Ok(Resent::InFlight),
            Ok(ResendBegun::Erased) => return Ok(Resent::Erased),
            Ok(ResendBegun::Missing) => return Ok(Resent::Missing),
            Err(error) => {
                // It may have begun all the same.
                self.end_unsent(resend.held(0));
                return Err(error);
            }
        };
        let held = claimed.held.clone();
        let body = claimed.body.take().unwrap_or_default();
        let made = self.send_once(&claimed, webhook, body, now).await;
        let Made {
            attempt,
            failure,
            ended_at,
        } = match made {
            Ok(made) => made,
            Err(error) => {
                self.end_unsent(held);
                return Err(error);
            }
        };
        if attempt.http_status_code.is_some() {
            self.endpoint_answered(key.webhook_id, ended_at);
        }
        let shown = shown(held.number, &attempt);
        let succeeded_at = failure.is_none().then_some(ended_at);
        let record = Record {
            held,
            attempt: Some(attempt),
            effect: Effect::Resent { succeeded_at },
        };
        if let Err(error) = self.database.record(std::slice::from_ref(&record)).await {
            log::task("a resend is not recorded yet", &error);
            self.ended.borrow_mut().push(Ended { record, until });
            let dispatcher = self.clone();
            spawn(async move { dispatcher.record_ended().await });
        }
        if succeeded_at.is_some() {
            let about = About {
                application: claimed.application_id,
                webhook: key.webhook_id,
            };
            self.observe(about, Observed::Succeeded(webhook.rotations.condition));
        }
        self.wake(false);
        Ok(Resent::Attempt(Box::new(shown)))
    }

    /// After the response: an endpoint that answers again gets all that waits for it.
    fn endpoint_answered(self: &Rc<Self>, webhook: WebhookId, now: Timestamp) {
        let consequence = self.endpoints.borrow_mut().answered(webhook);
        if consequence == Consequence::None {
            return;
        }
        let dispatcher = self.clone();
        after_response(async move {
            if let Err(error) = dispatcher.move_others(webhook, consequence, now).await {
                log::task("an endpoint's other deliveries stay as they are", &error);
            }
            dispatcher.wake(true);
        });
    }

    /// Ends, after the response, the claim of an attempt that is not made: else nobody could ask for
    /// another one until it ends by itself.
    fn end_unsent(self: &Rc<Self>, held: Held) {
        let record = Record {
            held,
            attempt: None,
            effect: Effect::Resent { succeeded_at: None },
        };
        let dispatcher = self.clone();
        spawn(async move {
            for pause in GIVE_BACK_PAUSES {
                sleep(pause).await;
                let recorded = dispatcher.database.record(std::slice::from_ref(&record));
                if let Err(error) = recorded.await {
                    log::task("a resend waits for its claim to end", &error);
                }
            }
        });
    }
}

impl Resend {
    fn held(&self, number: u32) -> Held {
        Held {
            key: self.key,
            token: self.token.clone(),
            number,
        }
    }
}

/// The attempt as the log shows it.
fn shown(number: u32, attempt: &NewAttempt) -> Attempt {
    Attempt {
        number,
        trigger: attempt.trigger,
        started_at: attempt.started_at,
        duration_ms: attempt.duration_ms,
        url: attempt.url.clone(),
        secret_fingerprints: attempt.secret_fingerprints.clone(),
        http_status_code: attempt.http_status_code,
        error: attempt.error,
        response_body: attempt.response_body.clone(),
        response_body_truncated: attempt.response_body_truncated,
        payload_omitted: false,
        retry_after_seconds: attempt.retry_after_seconds,
        next_attempt_at: None,
    }
}
