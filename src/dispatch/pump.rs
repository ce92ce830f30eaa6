//! The pump: claims what is due, and has it sent, until nothing is due.
//!
//! Each instance has one, which a request starts: a publish, or a probe of `/dispatcher/readyz`. So a
//! load balancer's probes are the clock, and there is no leader and no timer of our own. Any number of
//! pumps in any number of processes share the work, since a claim is nobody else's.

use std::rc::Rc;
use std::time::Duration;

use super::dispatcher::{Dispatcher, LEASE};
use super::endpoints::MAX_PER_WEBHOOK;
use crate::events::claim::ClaimToken;
use crate::events::database::{Claim, ClaimOrder, ClaimedDelivery, Held};
use crate::fault::Fault;
use crate::log;
use crate::model::time::Timestamp;
use crate::runtime::{Instant, sleep, spawn};

/// How long a pump runs that no request asks for. An instance that is used up gets none, and is gone when
/// its tasks have ended: with 128 requests for each there would be hundreds of pumps.
const UNASKED: Duration = Duration::from_secs(5);

/// How long a pump that found nothing to do is not started again without a reason.
const IDLE: Duration = Duration::from_secs(1);

/// A pump goes on while something is due so soon: a little longer than the second between two probes,
/// so that nothing falls between them.
const SOON: Duration = Duration::from_millis(1500);

/// How often it looks whether what it waits for has come: at first, and when it has waited for long. A look
/// costs the host 50 µs.
const POLL_INTERVAL: Duration = Duration::from_millis(2);
const LONGEST_POLL_INTERVAL: Duration = Duration::from_millis(20);

/// How long it waits where what is due is somebody else's, or an endpoint's that is busy.
const OTHERS: Duration = Duration::from_millis(50);

/// How many deliveries a statement claims at most: each brings its body.
const CLAIMED_AT_ONCE: usize = 32;

/// Every so many claims the delivery that is due longest comes first, so that retries are made also
/// while first attempts never end.
const FAIR_CLAIM: u32 = 4;

impl Dispatcher {
    /// Starts the pump after the response, unless it runs. Without `anything_new` it can wait for a
    /// second after it found nothing to do.
    pub fn wake(self: &Rc<Self>, anything_new: bool) {
        {
            let mut pump = self.pump.borrow_mut();
            let now = Instant::now();
            pump.asked_at = Some(now);
            let idle_for = |since| now.saturating_duration_since(since);
            let is_idle = pump.idle_since.is_some_and(|it| idle_for(it) < IDLE);
            pump.is_nudged |= anything_new;
            if pump.is_running || (is_idle && !anything_new) {
                return;
            }
            pump.is_running = true;
        }
        let running = Running(self.clone());
        spawn(async move {
            if let Err(error) = running.0.clone().pump().await {
                log::task("deliveries wait", &error);
            }
            drop(running);
        });
    }

    /// # Errors
    ///
    /// The database's failure: the next request starts another pump.
    async fn pump(self: Rc<Self>) -> Result<(), Fault> {
        while self.is_asked_for() {
            self.pump.borrow_mut().is_nudged = false;
            let free = self.endpoints.borrow().free();
            if free == 0 {
                self.wait(IDLE).await;
                continue;
            }
            let wanted = free.min(CLAIMED_AT_ONCE);
            let claimed_at = Timestamp::now();
            let claimed = self.claim_and_send(wanted, claimed_at).await?;
            if claimed == wanted && !self.is_house_waiting() {
                continue;
            }
            let more = self.keep_house().await?;
            if more || claimed > 0 {
                continue;
            }
            let next = self.database.next_due().await?;
            self.pump.borrow_mut().recovery_due = next.recovery;
            let now = Timestamp::now();
            let fan_out = next.fan_out.map(|due| due.max(self.settles_at(now)));
            let others = fan_out.into_iter().chain(next.recovery);
            let next = next.delivery.into_iter().chain(others).min();
            match next.filter(|next| *next <= now.plus(SOON)) {
                Some(next) if next <= claimed_at => self.wait(OTHERS).await,
                Some(next) => self.wait(next.saturating_since(now)).await,
                // What is in flight may have to be repeated soon.
                None if !self.endpoints.borrow().is_idle() => self.wait(IDLE).await,
                None => {
                    self.pump.borrow_mut().idle_since = Some(Instant::now());
                    break;
                }
            }
        }
        Ok(())
    }

    /// Whether the instance had a request lately.
    fn is_asked_for(&self) -> bool {
        let asked_at = self.pump.borrow().asked_at;
        asked_at.is_some_and(|at| at.elapsed() < UNASKED)
    }

    /// Waits for `pause`, or until there may be something to claim. Nobody wakes it: requests of an
    /// instance must not wake each other's tasks. So it looks, the less often the longer it has waited.
    async fn wait(&self, pause: Duration) {
        let started = Instant::now();
        while !self.pump.borrow().is_nudged {
            let waited = started.elapsed();
            let left = pause.saturating_sub(waited);
            if left.is_zero() {
                return;
            }
            let look = (waited / 4).clamp(POLL_INTERVAL, LONGEST_POLL_INTERVAL);
            sleep(left.min(look)).await;
        }
    }

    /// There may be something to claim now, if the pump runs.
    pub(super) fn nudge(&self) {
        self.pump.borrow_mut().is_nudged = true;
    }

    /// Claims up to `limit` deliveries that are due at `now`, and sends them, each in a task of its own. Returns how many.
    async fn claim_and_send(self: &Rc<Self>, limit: usize, now: Timestamp) -> Result<usize, Fault> {
        let until = now.plus(LEASE);
        let order = {
            let mut pump = self.pump.borrow_mut();
            pump.claims = pump.claims.wrapping_add(1);
            match pump.claims.is_multiple_of(FAIR_CLAIM) {
                true => ClaimOrder::Due,
                false => ClaimOrder::FirstAttempts,
            }
        };
        let claim = Claim {
            token: ClaimToken::generate(),
            now,
            until,
            limit: limit as u32,
            limit_per_webhook: MAX_PER_WEBHOOK as u32,
            taken: self.endpoints.borrow().taken(),
            except: self.endpoints.borrow().refused(now),
            order,
        };
        let claimed = self.database.claim(&claim).await?;
        let count = claimed.len();
        let mut refused = Vec::new();
        for delivery in claimed {
            let ClaimedDelivery { held, .. } = &delivery;
            let ticket = self
                .endpoints
                .borrow_mut()
                .begin(held.key.webhook_id, Timestamp::now());
            match ticket {
                Ok(ticket) => spawn(self.clone().deliver(delivery, ticket, until, None)),
                Err(_) => refused.push(delivery.held),
            }
        }
        self.give_back(refused, now).await?;
        Ok(count)
    }

    /// Gives back what was claimed of an endpoint that got busy meanwhile.
    async fn give_back(&self, refused: Vec<Held>, now: Timestamp) -> Result<(), Fault> {
        if refused.is_empty() {
            return Ok(());
        }
        self.database.release(&refused, now.plus(IDLE)).await
    }

    /// Whether what is beside deliveries has waited for a second, because there is always something to
    /// claim.
    fn is_house_waiting(&self) -> bool {
        let kept_at = self.pump.borrow().kept_house_at;
        kept_at.is_none_or(|at| at.elapsed() >= IDLE)
    }

    /// From when on it makes second decisions, as seen at `now`: a second after it found no more. Where
    /// events never end some are always due, and whose instance is the next to ask makes theirs.
    fn settles_at(&self, now: Timestamp) -> Timestamp {
        let settled_at = self.pump.borrow().settled_at;
        let pause = settled_at.map_or(Duration::ZERO, |at| IDLE.saturating_sub(at.elapsed()));
        now.plus(pause)
    }

    /// Makes second decisions about events, carries on recoveries, and deletes old events, when it is
    /// time. Returns whether there is more of it.
    async fn keep_house(self: &Rc<Self>) -> Result<bool, Fault> {
        self.pump.borrow_mut().kept_house_at = Some(Instant::now());
        let now = Timestamp::now();
        let mut more = false;
        if self.settles_at(now) <= now {
            more = self.settle().await?;
            if !more {
                self.pump.borrow_mut().settled_at = Some(Instant::now());
            }
        }
        more |= self.recover().await;
        self.retain().await?;
        Ok(more)
    }
}

/// The pump runs; ends with its task, however that ends.
struct Running(Rc<Dispatcher>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.pump.borrow_mut().is_running = false;
    }
}
