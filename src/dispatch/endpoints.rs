//! Isolation: how many attempts are in flight, and which endpoints are left alone for a while, so that
//! one that never answers delays nobody else. Pure: times are the caller's.

use std::collections::HashMap;
use std::time::Duration;

use crate::model::ids::WebhookId;
use crate::model::time::Timestamp;

/// How many attempts an instance has in flight.
pub const MAX_IN_FLIGHT: usize = 64;

/// How many of them are of one webhook.
pub const MAX_PER_WEBHOOK: usize = 4;

/// How long an endpoint is left alone after it was not reached for the first time; then twice as long
/// each time.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// How long at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How many endpoints that were not reached are remembered. More are forgotten: those whose pause
/// ended first.
const MAX_REMEMBERED: usize = 4096;

/// What an instance knows of the endpoints that it sends to.
#[derive(Debug, Default)]
pub struct Endpoints {
    in_flight: usize,
    known: HashMap<WebhookId, Endpoint>,
}

#[derive(Debug, Default)]
struct Endpoint {
    in_flight: usize,
    /// How often it was not reached since it last was.
    failures: u32,
    /// When it may be tried again.
    retry_at: Option<Timestamp>,
}

/// An attempt that has begun. It must be [ended](Endpoints::end).
#[derive(Debug, PartialEq, Eq)]
pub struct Ticket {
    webhook: WebhookId,
    failures: u32,
}

/// Why no attempt may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Enough are in flight.
    Busy,
    /// The endpoint is left alone until then.
    LeftAlone(Timestamp),
}

/// What an attempt found out about its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It answered, with whatever.
    Reached,
    /// It did not, or there was no connection. The delivery's own next attempt is made then.
    Unreached(Option<Timestamp>),
    /// There was no request.
    Untried,
}

/// What becomes of the endpoint's other deliveries that are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// Nothing.
    None,
    /// They move back: the endpoint is tried again at that moment, with one.
    MoveBack(Timestamp),
    /// They are due again.
    Resume,
}

impl Endpoints {
    /// How many more attempts may be in flight.
    pub fn free(&self) -> usize {
        MAX_IN_FLIGHT.saturating_sub(self.in_flight)
    }

    /// Whether none is in flight.
    pub fn is_idle(&self) -> bool {
        self.in_flight == 0
    }

    /// Begins an attempt.
    ///
    /// # Errors
    ///
    /// Why it may not begin.
    pub fn begin(&mut self, webhook: WebhookId, now: Timestamp) -> Result<Ticket, Refusal> {
        if self.free() == 0 {
            return Err(Refusal::Busy);
        }
        let endpoint = self.known.entry(webhook).or_default();
        if let Some(refusal) = endpoint.refusal(now) {
            return Err(refusal);
        }
        endpoint.in_flight += 1;
        self.in_flight += 1;
        Ok(Ticket {
            webhook,
            failures: endpoint.failures,
        })
    }

    /// Ends an attempt.
    pub fn end(&mut self, ticket: Ticket, reach: Reach, now: Timestamp) -> Consequence {
        self.in_flight -= 1;
        let endpoint = self.known.entry(ticket.webhook).or_default();
        endpoint.in_flight -= 1;
        let consequence = match reach {
            Reach::Untried => Consequence::None,
            Reach::Reached if endpoint.failures == 0 => Consequence::None,
            Reach::Reached => {
                endpoint.failures = 0;
                endpoint.retry_at = None;
                Consequence::Resume
            }
            // Those that began together fail together: that is one failure.
            Reach::Unreached(_) if endpoint.failures > ticket.failures => Consequence::None,
            Reach::Unreached(next) => {
                let pause = FIRST_PAUSE * 2_u32.saturating_pow(endpoint.failures.min(10));
                let retry_at = now.plus(pause.min(LONGEST_PAUSE));
                // The delivery that failed keeps its schedule, and is the one that tries.
                let retry_at = next.map_or(retry_at, |next| next.min(retry_at));
                endpoint.failures += 1;
                endpoint.retry_at = Some(retry_at);
                Consequence::MoveBack(retry_at)
            }
        };
        if endpoint.in_flight == 0 && endpoint.failures == 0 {
            self.known.remove(&ticket.webhook);
        }
        self.forget();
        consequence
    }

    /// An attempt that took no place was answered: the endpoint is reached again.
    pub fn answered(&mut self, webhook: WebhookId) -> Consequence {
        let Some(endpoint) = self.known.get_mut(&webhook) else {
            return Consequence::None;
        };
        if endpoint.failures == 0 {
            return Consequence::None;
        }
        endpoint.failures = 0;
        endpoint.retry_at = None;
        if endpoint.in_flight == 0 {
            self.known.remove(&webhook);
        }
        Consequence::Resume
    }

    /// Whether no other attempt of the webhook may begin while this many are in flight.
    pub fn is_busy(&self, webhook: WebhookId, now: Timestamp) -> bool {
        let endpoint = self.known.get(&webhook);
        self.free() == 0 || endpoint.is_some_and(|endpoint| endpoint.refusal(now).is_some())
    }

    /// The webhooks of which no attempt may begin now.
    pub fn refused(&self, now: Timestamp) -> Vec<WebhookId> {
        let known = self.known.iter();
        let refused = known.filter(|(_, endpoint)| endpoint.refusal(now).is_some());
        refused.map(|(webhook, _)| *webhook).collect()
    }

    /// How many of a webhook's places are taken. One that was not reached has one place.
    pub fn taken(&self) -> Vec<(WebhookId, u32)> {
        let known = self.known.iter();
        let taken = known.map(|(webhook, endpoint)| {
            let most = endpoint.most_in_flight();
            (
                *webhook,
                (MAX_PER_WEBHOOK - most + endpoint.in_flight) as u32,
            )
        });
        taken.filter(|(_, count)| *count > 0).collect()
    }

    fn forget(&mut self) {
        if self.known.len() <= MAX_REMEMBERED {
            return;
        }
        let idle = self.known.iter();
        let idle = idle.filter(|(_, endpoint)| endpoint.in_flight == 0);
        let first = idle.min_by_key(|(_, endpoint)| endpoint.retry_at);
        if let Some(webhook) = first.map(|(webhook, _)| *webhook) {
            self.known.remove(&webhook);
        }
    }
}

impl Endpoint {
    fn refusal(&self, now: Timestamp) -> Option<Refusal> {
        if let Some(retry_at) = self.retry_at.filter(|retry_at| *retry_at > now) {
            return Some(Refusal::LeftAlone(retry_at));
        }
        (self.in_flight >= self.most_in_flight()).then_some(Refusal::Busy)
    }

    /// One that was not reached is tried with one attempt: half-open.
    fn most_in_flight(&self) -> usize {
        match self.failures {
            0 => MAX_PER_WEBHOOK,
            _ => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn id(number: u8) -> WebhookId {
        WebhookId::from_random_bytes([number; 16])
    }

    #[test]
    fn four_attempts_of_a_webhook_are_in_flight_and_sixty_four_in_all() {
        let mut endpoints = Endpoints::default();
        let mut tickets = Vec::new();
        for webhook in 0..16 {
            for _ in 0..4 {
                tickets.push(endpoints.begin(id(webhook), at(0)).unwrap());
            }
            assert_eq!(endpoints.begin(id(webhook), at(0)), Err(Refusal::Busy));
        }
        assert_eq!(endpoints.free(), 0);
        assert_eq!(endpoints.begin(id(99), at(0)), Err(Refusal::Busy));
        for ticket in tickets {
            let consequence = endpoints.end(ticket, Reach::Reached, at(1));
            assert_eq!(consequence, Consequence::None);
        }
        assert!(endpoints.is_idle() && endpoints.known.is_empty());
    }

    #[test]
    fn an_endpoint_that_is_not_reached_is_left_alone_and_then_tried_with_one_attempt() {
        let mut endpoints = Endpoints::default();
        let begin = |endpoints: &mut Endpoints, now| endpoints.begin(id(1), at(now));
        let tickets: Vec<_> = (0..4).map(|_| begin(&mut endpoints, 0).unwrap()).collect();
        let mut consequences = tickets
            .into_iter()
            .map(|ticket| endpoints.end(ticket, Reach::Unreached(None), at(15)));
        assert_eq!(consequences.next(), Some(Consequence::MoveBack(at(20))));
        // Those that failed with it count as one failure.
        assert!(consequences.all(|consequence| consequence == Consequence::None));
        assert_eq!(begin(&mut endpoints, 19), Err(Refusal::LeftAlone(at(20))));
        assert_eq!(endpoints.refused(at(19)), [id(1)]);
        assert_eq!(endpoints.refused(at(20)), []);

        assert_eq!(endpoints.taken(), [(id(1), 3)]);
        let probe = begin(&mut endpoints, 20).unwrap();
        assert_eq!(endpoints.taken(), [(id(1), 4)]);
        assert_eq!(begin(&mut endpoints, 20), Err(Refusal::Busy));
        assert_eq!(endpoints.refused(at(20)), [id(1)]);
        let failed = endpoints.end(probe, Reach::Unreached(None), at(35));
        assert_eq!(failed, Consequence::MoveBack(at(45)));

        let probe = begin(&mut endpoints, 45).unwrap();
        let reached = endpoints.end(probe, Reach::Reached, at(46));
        assert_eq!(reached, Consequence::Resume);
        assert!((0..4).all(|_| begin(&mut endpoints, 46).is_ok()));
    }

    #[test]
    fn it_is_tried_again_when_the_delivery_that_failed_is_due_and_after_a_minute_at_the_latest() {
        let mut endpoints = Endpoints::default();
        let mut fail = |now: i64, next: Option<i64>| {
            let ticket = endpoints.begin(id(1), at(now)).unwrap();
            endpoints.end(ticket, Reach::Unreached(next.map(at)), at(now))
        };
        assert_eq!(fail(0, Some(1)), Consequence::MoveBack(at(1)));
        assert_eq!(fail(1, Some(301)), Consequence::MoveBack(at(11)));
        for now in [100, 200, 300, 400] {
            fail(now, None);
        }
        assert_eq!(fail(1000, Some(9000)), Consequence::MoveBack(at(1060)));
    }

    #[test]
    fn an_answer_to_somebody_who_asked_ends_the_pause() {
        let mut endpoints = Endpoints::default();
        assert_eq!(endpoints.answered(id(1)), Consequence::None);
        let failed = endpoints.begin(id(1), at(0)).unwrap();
        let under_way = endpoints.begin(id(1), at(0)).unwrap();
        assert_eq!(endpoints.answered(id(1)), Consequence::None);
        endpoints.end(failed, Reach::Unreached(None), at(15));
        assert_eq!(endpoints.refused(at(16)), [id(1)]);
        assert_eq!(endpoints.answered(id(1)), Consequence::Resume);
        assert_eq!(endpoints.refused(at(16)), []);
        endpoints.end(under_way, Reach::Reached, at(17));
        assert!(endpoints.is_idle() && endpoints.known.is_empty());
    }

    #[test]
    fn without_a_request_nothing_is_known() {
        let mut endpoints = Endpoints::default();
        let ticket = endpoints.begin(id(1), at(0)).unwrap();
        let consequence = endpoints.end(ticket, Reach::Untried, at(0));
        assert_eq!(consequence, Consequence::None);
        assert!(endpoints.known.is_empty());
    }

    #[test]
    fn no_number_of_dead_endpoints_fills_the_memory() {
        let mut endpoints = Endpoints::default();
        for number in 0..5000_u128 {
            let webhook = WebhookId::from_random_bytes(number.to_be_bytes());
            let now = at(number as i64);
            let ticket = endpoints.begin(webhook, now).unwrap();
            endpoints.end(ticket, Reach::Unreached(None), now);
        }
        assert_eq!(endpoints.known.len(), MAX_REMEMBERED);
    }
}
