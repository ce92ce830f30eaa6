//! What attempts say of their webhook: whether it fails, is to be made inactive, or works again.
//!
//! Whoever records an attempt looks, seldom: a success answers the question for a day, and a failure
//! asks the database only when something can have changed. Several processes may look at once. What they
//! find merges in the webhook's document, and operational events have keys that follow from what happened.

use std::rc::Rc;
use std::time::Duration;

use futures::future::LocalBoxFuture;

use super::dispatcher::Dispatcher;
use super::operational::{About, Operational};
use super::state::LOOKING;
use crate::fault::Fault;
use crate::log;
use crate::model::condition::{
    Condition, DisableRule, Disabled, DisabledReason, Failing, Failures,
};
use crate::model::delivery::{AttemptError, DeliveryReason};
use crate::model::ids::WebhookId;
use crate::model::time::Timestamp;
use crate::model::webhook::Webhook;
use crate::runtime::{Instant, sleep, spawn};
use crate::store::deadline::Deadline;
use crate::store::recipients::{self, Recipient};

/// How long after an attempt its webhook is looked at: by then it is recorded, and others that ended
/// with it.
const LOOK_AFTER: Duration = Duration::from_secs(1);

/// How long after a webhook was made inactive that is looked at again: a rotation of its secret at the
/// same moment can have overwritten it.
const CONFIRM_AFTER: Duration = Duration::from_secs(2);

/// For how long an operational event is tried to be published whose delivery is over.
const ANNOUNCING: Duration = Duration::from_secs(60);

/// How long a pause is between two tries at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// Makes something known, each time it is called.
type Announce = Box<dyn Fn() -> LocalBoxFuture<'static, Result<(), Fault>>>;

/// How many deliveries one statement suppresses.
const SUPPRESSED_AT_ONCE: u32 = 100;

/// What an attempt, or one that was not made, says of its webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Observed {
    /// Nothing.
    Nothing,
    /// It works. What was known of it before.
    Succeeded(Condition),
    /// It does not.
    Failed,
    /// The service has made it inactive.
    Disabled(Disabled),
}

impl Observed {
    /// What a recorded attempt says. A failure that is our own says nothing.
    pub fn of(error: Option<AttemptError>, known: Condition) -> Self {
        match error {
            None => Self::Succeeded(known),
            Some(AttemptError::Internal) => Self::Nothing,
            Some(_) => Self::Failed,
        }
    }

    /// What a delivery says that was not tried.
    pub fn of_skipped(recipient: &Recipient) -> Self {
        let disabled = match recipient {
            Recipient::Webhook(webhook) => webhook.disabled(),
            Recipient::Deleted => None,
        };
        disabled.map_or(Self::Nothing, Self::Disabled)
    }
}

impl Dispatcher {
    /// Goes on with what was observed, after it was recorded.
    pub(super) fn observe(self: &Rc<Self>, about: About, observed: Observed) {
        let (webhook, now) = (about.webhook, Timestamp::now());
        let mut watch = self.watch.borrow_mut();
        match observed {
            Observed::Nothing => {}
            Observed::Succeeded(known) => {
                let rule = self.events.disable_rule;
                watch.look_again(webhook, rule.look_after_success_at(now));
                if let Some(since) = known.failing_since()
                    && watch.begin((webhook, since))
                {
                    let this = self.clone();
                    spawn(async move {
                        let recovered = this.recovered(&about, since, now).await;
                        this.done("a webhook works again", (webhook, since), recovered);
                    });
                }
            }
            Observed::Failed => {
                if watch.is_time(webhook, now) {
                    let this = self.clone();
                    spawn(async move {
                        sleep(LOOK_AFTER).await;
                        if let Err(error) = this.look(&about).await {
                            let again = Timestamp::now().plus(LOOKING);
                            this.watch.borrow_mut().look_again(webhook, again);
                            log::task("a webhook that fails is looked at later", &error);
                        }
                    });
                }
            }
            Observed::Disabled(disabled) => {
                if watch.begin((webhook, disabled.at)) {
                    let this = self.clone();
                    spawn(async move {
                        let ended = this.end_deliveries(&about, disabled).await;
                        let what = "an inactive webhook has deliveries that wait";
                        this.done(what, (webhook, disabled.at), ended);
                    });
                }
            }
        }
    }

    /// Makes known that a delivery of the webhook fails at the end of its schedule, once an hour. That comes
    /// before its record: else a process that dies in between would keep it from the operator, since nothing
    /// is due of the delivery any more. Where it fails, it is tried again beside the record for a minute.
    pub(super) async fn announce_exhausted(self: &Rc<Self>, about: &About, exhausted: Operational) {
        let hour = Timestamp::now().as_secs().div_euclid(3600);
        let is_first = self
            .watch
            .borrow_mut()
            .is_first_of_hour(about.webhook, hour);
        if !is_first {
            return;
        }
        let (this, about, webhook) = (self.clone(), about.clone(), about.webhook);
        let announce: Announce = Box::new(move || {
            let (this, about, exhausted) = (this.clone(), about.clone(), exhausted.clone());
            Box::pin(async move { this.announce(&about, &exhausted, &hour.to_string()).await })
        });
        if announce().await.is_err() {
            let watcher = self.clone();
            spawn(async move {
                let began = Instant::now();
                let mut pause = Duration::from_secs(1);
                loop {
                    sleep(pause).await;
                    match announce().await {
                        Ok(()) => return,
                        Err(error) if began.elapsed() >= ANNOUNCING => {
                            watcher.watch.borrow_mut().forget_exhausted(webhook);
                            return log::task("an operational event is not published", &error);
                        }
                        Err(_) => pause = (pause * 2).min(LONGEST_PAUSE),
                    }
                }
            });
        }
    }

    /// What failed is begun again by the next attempt that observes it.
    fn done(&self, what: &str, key: (WebhookId, Timestamp), result: Result<(), Fault>) {
        if let Err(error) = result {
            self.watch.borrow_mut().forget(&key);
            log::task(what, &error);
        }
    }

    /// Looks whether the webhook fails for so long that the operator is informed, or that it is made
    /// inactive.
    async fn look(self: &Rc<Self>, about: &About) -> Result<(), Fault> {
        let Some(webhook) = self.active(about).await? else {
            return Ok(());
        };
        // Read after the webhook: what they count from is not older than what it says.
        let counts_since = webhook.counts_since();
        let found = self.database.failures(about.webhook, counts_since).await?;
        let failures = webhook.failures(found);
        let (rule, now) = (self.events.disable_rule, Timestamp::now());
        let look_at = rule.look_again_at(&failures, now);
        self.watch.borrow_mut().look_again(about.webhook, look_at);
        let Some(since) = failures.failing_since else {
            return Ok(());
        };
        if rule.disables(&failures, now) {
            let condition = Condition {
                failing: Some(Failing {
                    since,
                    recovered_at: None,
                }),
                disabled: Some(disabled(&webhook, DisabledReason::Failing, now)),
            };
            return match self.disable(about, condition).await? {
                Some(disabled) => self.end_deliveries(about, disabled).await,
                None => Ok(()),
            };
        }
        let known = webhook.rotations.condition.failing_since();
        if DisableRule::is_noticed(&failures, now) && known != Some(since) {
            self.failing(about, &webhook, &failures, since).await?;
        }
        Ok(())
    }

    async fn failing(
        self: &Rc<Self>,
        about: &About,
        webhook: &Webhook,
        failures: &Failures,
        since: Timestamp,
    ) -> Result<(), Fault> {
        let happened = Operational::Failing {
            url: webhook.settings().url.to_owned(),
            failing_since: since,
            failed_attempts: failures.attempts,
            failed_events: failures.events,
            will_be_disabled_at: self.events.disable_rule.will_disable_at(failures),
        };
        self.announce(about, &happened, &since.as_millis().to_string())
            .await?;
        let failing = Failing {
            since,
            recovered_at: None,
        };
        self.note_failing(about, failing).await
    }

    async fn recovered(
        self: &Rc<Self>,
        about: &About,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let Recipient::Webhook(webhook) = self.recipient(about).await? else {
            return Ok(());
        };
        // Another process may have seen it first.
        if webhook.rotations.condition.failing_since() != Some(since) {
            return Ok(());
        }
        let happened = Operational::Recovered {
            url: webhook.settings().url.to_owned(),
            failing_since: since,
            recovered_at: now,
        };
        self.announce(about, &happened, &since.as_millis().to_string())
            .await?;
        let failing = Failing {
            since,
            recovered_at: Some(now),
        };
        self.note_failing(about, failing).await
    }

    async fn note_failing(&self, about: &About, failing: Failing) -> Result<(), Fault> {
        let condition = Condition {
            failing: Some(failing),
            disabled: None,
        };
        self.note(about, condition).await.map(drop)
    }

    /// Makes the webhook inactive whose endpoint said at `url` that it is gone, unless its merchant has
    /// changed the URL or the webhook meanwhile. Returns what ended it; `None`: nothing did.
    pub(super) async fn disable_gone(
        self: &Rc<Self>,
        about: &About,
        url: &str,
        now: Timestamp,
    ) -> Result<Option<Disabled>, Fault> {
        let Some(webhook) = self.active(about).await? else {
            return Ok(None);
        };
        if webhook.settings().url != url {
            return Ok(None);
        }
        let condition = Condition {
            failing: None,
            disabled: Some(disabled(&webhook, DisabledReason::Gone, now)),
        };
        self.disable(about, condition).await
    }

    /// Makes the webhook inactive. Returns what ended it; `None`: its merchant has made it active
    /// meanwhile, or it is gone.
    async fn disable(
        self: &Rc<Self>,
        about: &About,
        condition: Condition,
    ) -> Result<Option<Disabled>, Fault> {
        if !self.note(about, condition).await? {
            return Ok(None);
        }
        let (this, about_it) = (self.clone(), about.clone());
        spawn(async move {
            sleep(CONFIRM_AFTER).await;
            if let Err(error) = this.note(&about_it, condition).await {
                log::task("that a webhook is inactive is not confirmed", &error);
            }
        });
        match self.recipient(about).await? {
            Recipient::Webhook(webhook) => Ok(webhook.disabled()),
            Recipient::Deleted => Ok(None),
        }
    }

    /// Ends the deliveries that the webhook has pending, as long as it is inactive, and makes known why.
    /// Who finds one of them due later does the same, so a process that dies here leaves nothing undone.
    async fn end_deliveries(
        self: &Rc<Self>,
        about: &About,
        disabled: Disabled,
    ) -> Result<(), Fault> {
        self.watch.borrow_mut().begin((about.webhook, disabled.at));
        let Some(url) = self.is_still(about, disabled).await? else {
            return Ok(());
        };
        let failing_since = match self.recipient(about).await? {
            Recipient::Webhook(webhook) => webhook.rotations.condition.failing_since(),
            Recipient::Deleted => return Ok(()),
        };
        let happened = Operational::Disabled {
            url,
            disabled_at: disabled.at,
            disabled_reason: disabled.reason,
            failing_since: failing_since.filter(|_| disabled.reason == DisabledReason::Failing),
        };
        // Once for what it ended, whoever ended it.
        let activation = disabled.activation.map_or(0, Timestamp::as_millis);
        // First: where that fails, it is one of the pending deliveries that brings somebody back.
        self.announce(about, &happened, &activation.to_string())
            .await?;
        loop {
            let suppressed = self.database.suppress(
                about.webhook,
                DeliveryReason::WebhookInactive,
                disabled.at,
                Timestamp::now(),
                SUPPRESSED_AT_ONCE,
            );
            let suppressed = suppressed.await?;
            if suppressed < SUPPRESSED_AT_ONCE || self.is_still(about, disabled).await?.is_none() {
                return Ok(());
            }
        }
    }

    /// The webhook's URL, while it is inactive for that reason.
    async fn is_still(&self, about: &About, disabled: Disabled) -> Result<Option<String>, Fault> {
        Ok(match self.recipient(about).await? {
            Recipient::Webhook(webhook) if webhook.disabled() == Some(disabled) => {
                Some(webhook.settings().url.to_owned())
            }
            _ => None,
        })
    }

    /// The webhook, if it gets deliveries as far as the webhook itself decides.
    async fn active(&self, about: &About) -> Result<Option<Box<Webhook>>, Fault> {
        Ok(match self.recipient(about).await? {
            Recipient::Webhook(webhook) if webhook.is_active() => Some(webhook),
            _ => None,
        })
    }

    async fn recipient(&self, about: &About) -> Result<Recipient, Fault> {
        let recipient = recipients::recipient(&self.store, &about.application, about.webhook);
        let deadline = Deadline::with_timeout(self.config.store_timeout);
        deadline.run("reading a webhook", recipient).await
    }

    async fn note(&self, about: &About, condition: Condition) -> Result<bool, Fault> {
        let deadline = Deadline::with_timeout(self.config.store_timeout);
        let About {
            application,
            webhook,
        } = about;
        recipients::note(&self.store, application, *webhook, condition, &deadline).await
    }
}

/// The end of the webhook's activation.
fn disabled(webhook: &Webhook, reason: DisabledReason, now: Timestamp) -> Disabled {
    Disabled {
        at: now,
        reason,
        activation: webhook.settings().activated_at,
    }
}
