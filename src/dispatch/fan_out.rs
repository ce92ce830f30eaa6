//! Who gets an event: decided when it is published, and once more some seconds later.
//!
//! The index of an application's webhooks is a hint, which can lack a webhook for seconds after its
//! create, and longer where the store is replicated. The second decision adds whom the first
//! one missed, so no event that is published after a webhook's 201 is.

use std::rc::Rc;
use std::time::Duration;

use super::attempt::jitter;
use super::dispatcher::{Dispatcher, LEASE};
use super::endpoints::{Reach, Refusal, Ticket};
use crate::events::claim::ClaimToken;
use crate::events::database::{
    Beginning, ClaimedDelivery, DeliveryKey, FanOut, Held, NewDelivery, NewEvent, Settlement,
};
use crate::fault::Fault;
use crate::log;
use crate::model::delivery::{AttemptTrigger, DeliveryReason};
use crate::model::delivery_state::Progress;
use crate::model::event::EventType;
use crate::model::ids::{ApplicationId, WebhookId};
use crate::model::time::Timestamp;
use crate::model::webhook::Webhook;
use crate::runtime::{sleep, spawn};
use crate::store::deadline::Deadline;
use crate::store::recipients::{self, Recipient};

/// How long after an event the second decision is made: whoever is missed then is missed for good. The index
/// is right within two seconds, or where the store is slow when its last check has written back what a late
/// write undid: after up to three times `store_timeout_ms`, 6 seconds by default. On a machine with ten times
/// more to do than it can, we saw 13.
const SETTLE_AFTER: Duration = Duration::from_secs(15);

/// How far the clocks of two machines may differ: a webhook that seems to be so much younger than an
/// event gets it.
const CLOCK_DIFFERENCE: Duration = Duration::from_secs(2);

/// How many events one statement takes.
const SETTLED_AT_ONCE: u32 = 32;

/// How long somebody has to make the second decision before somebody else does.
const SETTLE_LEASE: Duration = Duration::from_secs(30);

/// When deliveries are given back of which nobody knows whether they are stored: a statement that was cut
/// off can take effect late.
pub(super) const GIVE_BACK_PAUSES: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_secs(2),
    Duration::from_secs(10),
];

/// When the second decision about an event is made that is published at `now`.
pub fn settle_at(now: Timestamp) -> Timestamp {
    now.plus(SETTLE_AFTER)
}

/// The deliveries of an event that is about to be published, and the attempts that this instance makes
/// itself, without claiming them from the database first.
pub struct Plan {
    dispatcher: Rc<Dispatcher>,
    /// What is stored with the event.
    pub deliveries: Vec<NewDelivery>,
    own: Vec<Own>,
}

struct Own {
    webhook: Box<Webhook>,
    token: ClaimToken,
    ticket: Option<Ticket>,
    give_up_at: Timestamp,
    until: Timestamp,
}

impl Plan {
    /// The deliveries to these webhooks of an event that is published at `now`.
    pub fn new(
        dispatcher: &Rc<Dispatcher>,
        subscribers: Vec<Webhook>,
        application_is_enabled: bool,
        now: Timestamp,
    ) -> Self {
        let mut plan = Self {
            dispatcher: dispatcher.clone(),
            deliveries: Vec::new(),
            own: Vec::new(),
        };
        let schedule = &dispatcher.events.retry_schedule;
        let give_up_at = schedule.give_up_at(now);
        let begins_at_once = schedule.pauses_seconds().next() == Some(0);
        let token = ClaimToken::generate();
        let until = now.plus(LEASE);
        for webhook in subscribers {
            let webhook_id = webhook.created.id;
            let beginning = match suppressed(&webhook, application_is_enabled) {
                Some(reason) => Beginning::Suppressed(reason),
                None if !begins_at_once => {
                    Beginning::Due(schedule.next_at(0, now, jitter()).unwrap_or(now))
                }
                None => match dispatcher.endpoints.borrow_mut().begin(webhook_id, now) {
                    Err(Refusal::Busy) => Beginning::Due(now),
                    Err(Refusal::LeftAlone(until)) => Beginning::Due(until),
                    Ok(ticket) => {
                        plan.own.push(Own {
                            webhook: Box::new(webhook),
                            token: token.clone(),
                            ticket: Some(ticket),
                            give_up_at,
                            until,
                        });
                        Beginning::Claimed {
                            token: token.clone(),
                            due: now,
                            until,
                        }
                    }
                },
            };
            plan.deliveries.push(NewDelivery {
                webhook_id,
                give_up_at,
                beginning,
            });
        }
        plan
    }

    /// Gives back, after the response, the deliveries of an event of which nobody knows whether it was
    /// stored: without that, their first attempts would wait until their leases end.
    pub fn give_back(self, event: &NewEvent) {
        let held: Vec<Held> = self.own.iter().map(|own| own.held(event)).collect();
        if held.is_empty() {
            return;
        }
        let dispatcher = self.dispatcher.clone();
        spawn(async move {
            for pause in GIVE_BACK_PAUSES {
                sleep(pause).await;
                // The event may be stored only now, or never.
                if let Err(error) = dispatcher.database.release(&held, Timestamp::now()).await {
                    log::task("deliveries wait for their leases to end", &error);
                }
                dispatcher.wake(true);
            }
        });
    }

    /// Makes, after the response, the attempts that are this instance's own: the event is stored.
    pub fn deliver(mut self, event: &NewEvent) {
        let mut beginnings = self.deliveries.iter();
        let is_anything_left = beginnings.any(|it| matches!(it.beginning, Beginning::Due(_)));
        for own in &mut self.own {
            let Some(ticket) = own.ticket.take() else {
                continue;
            };
            let claimed = ClaimedDelivery {
                held: own.held(event),
                application_id: event.application_id.clone(),
                event_type: event.event_type.clone(),
                body: Some(event.body.clone()),
                trigger: AttemptTrigger::Schedule,
                progress: Progress {
                    step: 1,
                    give_up_at: own.give_up_at,
                    deliver_before: event.deliver_before,
                    gone_at: None,
                },
            };
            let recipient = Recipient::Webhook(own.webhook.clone());
            let dispatcher = self.dispatcher.clone();
            spawn(dispatcher.deliver(claimed, ticket, own.until, Some(recipient)));
        }
        self.dispatcher.wake(is_anything_left);
    }
}

impl Own {
    fn held(&self, event: &NewEvent) -> Held {
        Held {
            key: DeliveryKey {
                event_id: event.id,
                webhook_id: self.webhook.created.id,
            },
            token: self.token.clone(),
            number: 1,
        }
    }
}

/// Attempts that are not made, because the event was not stored.
impl Drop for Plan {
    fn drop(&mut self) {
        let mut endpoints = self.dispatcher.endpoints.borrow_mut();
        for ticket in self.own.iter_mut().filter_map(|own| own.ticket.take()) {
            endpoints.end(ticket, Reach::Untried, Timestamp::now());
        }
    }
}

/// Why a webhook gets no event now, if it does not.
fn suppressed(webhook: &Webhook, application_is_enabled: bool) -> Option<DeliveryReason> {
    if !application_is_enabled {
        return Some(DeliveryReason::ApplicationDisabled);
    }
    (!webhook.is_active()).then_some(DeliveryReason::WebhookInactive)
}

impl Dispatcher {
    /// Makes the second decision about events for which it is time. Returns whether there may be more.
    ///
    /// An event whose application cannot be read is recorded in the log and comes back when its claim
    /// ends: the others do not wait for the doctor.
    ///
    /// # Errors
    ///
    /// The failure of the database, or of the store. Events that were read before it are settled.
    pub(super) async fn settle(&self) -> Result<bool, Fault> {
        let now = Timestamp::now();
        let until = now.plus(SETTLE_LEASE);
        let due = self
            .database
            .claim_fan_outs(now, until, SETTLED_AT_ONCE)
            .await?;
        let mut settlements = Vec::with_capacity(due.len());
        let mut failure = None;
        let count = due.len() as u32;
        let mut left = due;
        // One reading decides about all events of an application and a type: it is time for each.
        while let Some(first) = left.first() {
            let audience = (first.application_id.clone(), first.event_type.clone());
            let (alike, others): (Vec<_>, Vec<_>) = left.into_iter().partition(|event| {
                event.application_id == audience.0 && event.event_type == audience.1
            });
            left = others;
            match self.missed(&audience.0, &audience.1, &alike).await {
                Ok(missed) => {
                    let settled = alike
                        .iter()
                        .map(|event| self.settlement(event, &missed, now));
                    settlements.extend(settled);
                }
                Err(error @ Fault::Unreadable(_)) => {
                    log::task("events' second fan-out waits", &error);
                }
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        if !settlements.is_empty() {
            self.database.settle(&settlements).await?;
        }
        match failure {
            Some(error) => Err(error),
            None => Ok(count == SETTLED_AT_ONCE),
        }
    }

    /// Who gets events of that type now and may have been missed by one of these; whether the application's
    /// webhooks get any, `None`: it is gone. That is not asked where nobody was missed, as is the rule.
    async fn missed(
        &self,
        application: &ApplicationId,
        event_type: &EventType,
        events: &[FanOut],
    ) -> Result<(Option<bool>, Vec<Webhook>), Fault> {
        let store = &self.store;
        let first = events.iter().take(1).flat_map(|event| &event.recipients);
        let has_all =
            |webhook: &&WebhookId| events.iter().all(|it| it.recipients.contains(webhook));
        let known: Vec<WebhookId> = first.filter(has_all).copied().collect();
        let reads = async {
            let missed =
                recipients::subscribers_besides(store, application, event_type, &known).await?;
            let enabled = match missed[..] {
                [] => None,
                _ => recipients::application_is_enabled(store, application).await?,
            };
            Ok((enabled, missed))
        };
        let deadline = Deadline::with_timeout(self.config.store_timeout);
        deadline.run("reading webhooks", reads).await
    }

    fn settlement(
        &self,
        event: &FanOut,
        (enabled, missed): &(Option<bool>, Vec<Webhook>),
        now: Timestamp,
    ) -> Settlement {
        let youngest = event.created_at.plus(CLOCK_DIFFERENCE);
        let schedule = &self.events.retry_schedule;
        let deliveries = match *enabled {
            // Nobody was missed; or the application is gone, and nobody is left who is to get it.
            None => Vec::new(),
            Some(enabled) => missed
                .iter()
                .filter(|webhook| webhook.created.created_at <= youngest)
                .filter(|webhook| !event.recipients.contains(&webhook.created.id))
                .map(|webhook| NewDelivery {
                    webhook_id: webhook.created.id,
                    give_up_at: schedule.give_up_at(now),
                    beginning: suppressed(webhook, enabled)
                        .map_or(Beginning::Due(now), Beginning::Suppressed),
                })
                .collect(),
        };
        Settlement {
            event_id: event.event_id,
            deliveries,
            now,
        }
    }
}
