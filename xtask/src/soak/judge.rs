//! What becomes of published events, judged by what endpoints saw: nothing is lost, and what came twice
//! is explained by a process that died.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// The service's `retry_schedule` in a soak: longer than any fault, so that no delivery runs out of
/// attempts.
pub const SCHEDULE: &str = "0,1,1,2,2,3,3,5,5,5,10,10,10,10,20,20,20,20,30,30,30,30,60,60,60,60";

/// How long after it arrived a delivery is recorded at the latest: no fault is on for longer, and no
/// pause between two tries to record is.
const RECORDING: Duration = Duration::from_secs(15);

/// How long a claim holds a delivery, without the time that the attempt may take until it arrives. Who
/// sends it again earlier has ignored a claim.
const HELD: Duration = Duration::from_secs(40);

/// How many findings are described.
const DESCRIBED: usize = 20;

/// One delivery: an event for an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// `webhook-id`.
    pub event: String,
    /// Which endpoint it came to.
    pub endpoint: usize,
}

/// A request that an endpoint verified.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// `webhook-attempt`.
    pub attempt: u32,
    /// Which process sent it.
    pub process: Ipv4Addr,
    /// When it came.
    pub at: Instant,
    /// Whether it was answered with success.
    pub accepted: bool,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Judge {
    /// The deliveries of events that were answered 202.
    due: BTreeSet<Key>,
    events: usize,
    arrivals: BTreeMap<Key, Vec<Arrival>>,
    deaths: BTreeMap<Ipv4Addr, Instant>,
    /// What the service says otherwise in the end.
    contradictions: Vec<String>,
}

/// The result.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Events that were answered 202.
    pub published: usize,
    /// Their deliveries.
    pub due: usize,
    /// Those of them that an endpoint accepted.
    pub delivered: usize,
    /// Deliveries that came again after they were accepted, because a process died.
    pub explained: usize,
    /// The same for no such reason.
    pub unexplained: Vec<String>,
    /// Deliveries that no endpoint accepted, and events of which the service says anything else than
    /// that they are delivered.
    pub lost: Vec<String>,
}

impl Judge {
    /// An event was answered 202, and is for these endpoints.
    pub fn published(&mut self, event: &str, endpoints: impl Iterator<Item = usize>) {
        self.events += 1;
        self.due.extend(endpoints.map(|endpoint| Key {
            event: event.to_owned(),
            endpoint,
        }));
    }

    /// A delivery came.
    pub fn arrived(&mut self, key: Key, arrival: Arrival) {
        self.arrivals.entry(key).or_default().push(arrival);
    }

    /// A process died.
    pub fn died(&mut self, process: Ipv4Addr, at: Instant) {
        self.deaths.insert(process, at);
    }

    /// The service does not say of an event that all its deliveries succeeded.
    pub fn contradicted(&mut self, what: String) {
        self.contradictions.push(what);
    }

    /// How many deliveries no endpoint has accepted yet.
    pub fn missing(&self) -> usize {
        self.due.iter().filter(|key| !self.is_accepted(key)).count()
    }

    fn is_accepted(&self, key: &Key) -> bool {
        let arrivals = self.arrivals.get(key);
        arrivals.is_some_and(|all| all.iter().any(|arrival| arrival.accepted))
    }

    /// The result of all that was seen.
    pub fn verdict(&self) -> Verdict {
        let missing = self.due.iter().filter(|key| !self.is_accepted(key));
        let missing = missing.map(|key| format!("{key:?}: no endpoint accepted it"));
        let lost: Vec<String> = missing.chain(self.contradictions.iter().cloned()).collect();
        let mut verdict = Verdict {
            published: self.events,
            due: self.due.len(),
            delivered: self.due.len() - self.missing(),
            lost,
            ..Verdict::default()
        };
        for (key, arrivals) in &self.arrivals {
            for (number, arrival) in arrivals.iter().enumerate() {
                let earlier = &arrivals[..number];
                match self.repetition(earlier, arrival) {
                    None => {}
                    Some(Ok(())) => verdict.explained += 1,
                    Some(Err(why)) => {
                        verdict
                            .unexplained
                            .push(format!("{key:?}: {why}: {arrivals:?}"));
                    }
                }
            }
        }
        verdict
    }

    /// What is wrong with an arrival after the earlier ones; `None`: there is no repetition.
    fn repetition(&self, earlier: &[Arrival], again: &Arrival) -> Option<Result<(), &'static str>> {
        let last = earlier.last()?;
        if earlier.iter().any(|it| it.attempt == again.attempt) {
            return Some(Err("one attempt came twice"));
        }
        if !last.accepted {
            return None;
        }
        if again.at.saturating_duration_since(last.at) < HELD {
            return Some(Err("it came again while it was claimed"));
        }
        // What it sent came before it died, whatever the clock of a busy endpoint says.
        let died = self.deaths.get(&last.process);
        Some(match died.is_some_and(|at| *at <= last.at + RECORDING) {
            true => Ok(()),
            false => Err("the process that sent it first went on"),
        })
    }
}

impl Verdict {
    /// Whether there was something, and all of it is as promised.
    pub fn is_good(&self) -> bool {
        self.published > 0 && self.lost.is_empty() && self.unexplained.is_empty()
    }

    /// Describes what is not as promised, on standard error.
    pub fn describe(&self) {
        for what in self.lost.iter().take(DESCRIBED) {
            eprintln!("lost: {what}");
        }
        for what in self.unexplained.iter().take(DESCRIBED) {
            eprintln!("unexplained duplicate: {what}");
        }
    }

    /// The last line.
    pub fn summary(&self) -> String {
        format!(
            "{} events published (202), {} of {} deliveries made at least once, {} duplicates \
             explained by a process that died, {} unexplained, {} lost",
            self.published,
            self.delivered,
            self.due,
            self.explained,
            self.unexplained.len(),
            self.lost.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 1);
    const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 2);

    fn key(endpoint: usize) -> Key {
        Key {
            event: "evt_1".to_owned(),
            endpoint,
        }
    }

    /// A judge of one event for one endpoint, and its beginning.
    fn judge() -> (Judge, Instant) {
        let mut judge = Judge::default();
        judge.published("evt_1", 0..1);
        (judge, Instant::now())
    }

    fn arrival(attempt: u32, process: Ipv4Addr, at: Instant, accepted: bool) -> Arrival {
        Arrival {
            attempt,
            process,
            at,
            accepted,
        }
    }

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn what_is_delivered_after_failures_is_no_duplicate() {
        let (mut judge, begin) = judge();
        judge.arrived(key(0), arrival(1, ONE, begin, false));
        judge.arrived(key(0), arrival(2, OTHER, begin + secs(1), true));
        let verdict = judge.verdict();
        assert!(verdict.is_good(), "{verdict:?}");
        assert_eq!(
            (verdict.due, verdict.delivered, verdict.explained),
            (1, 1, 0)
        );
    }

    #[test]
    fn a_delivery_that_no_endpoint_accepted_is_lost() {
        let mut judge = Judge::default();
        judge.published("evt_1", 0..2);
        let now = Instant::now();
        judge.arrived(key(0), arrival(1, ONE, now, true));
        judge.arrived(key(1), arrival(1, ONE, now, false));
        assert_eq!(judge.missing(), 1);
        let verdict = judge.verdict();
        assert_eq!((verdict.delivered, verdict.lost.len()), (1, 1));
        assert!(!verdict.is_good());
    }

    #[test]
    fn an_event_that_the_service_says_otherwise_of_is_lost() {
        let (mut judge, begin) = judge();
        judge.arrived(key(0), arrival(1, ONE, begin, true));
        judge.contradicted("evt_1 is 404".to_owned());
        assert!(!judge.verdict().is_good());
    }

    #[test]
    fn a_duplicate_is_explained_by_the_death_of_its_first_sender_and_of_no_other() {
        for (died, when, explained) in [
            (ONE, secs(1), true),
            (ONE, RECORDING, true),
            (OTHER, secs(1), false),
            (ONE, RECORDING + secs(1), false),
        ] {
            let (mut judge, begin) = judge();
            judge.arrived(key(0), arrival(1, ONE, begin, true));
            judge.died(died, begin + when);
            judge.arrived(key(0), arrival(2, OTHER, begin + secs(61), true));
            let verdict = judge.verdict();
            assert_eq!(verdict.is_good(), explained, "{died} {when:?}: {verdict:?}");
            assert_eq!(verdict.explained, usize::from(explained));
        }
    }

    #[test]
    fn a_claim_that_is_ignored_is_never_explained() {
        let (mut judge, begin) = judge();
        judge.arrived(key(0), arrival(1, ONE, begin, true));
        judge.died(ONE, begin + secs(1));
        judge.arrived(key(0), arrival(2, OTHER, begin + secs(2), true));
        assert_eq!(judge.verdict().unexplained.len(), 1);
    }

    #[test]
    fn one_attempt_comes_once_accepted_or_not() {
        let (mut judge, begin) = judge();
        judge.arrived(key(0), arrival(1, ONE, begin, false));
        judge.arrived(key(0), arrival(1, ONE, begin + secs(70), true));
        assert_eq!(judge.verdict().unexplained.len(), 1);
    }

    #[test]
    fn each_repetition_needs_an_explanation_of_its_own() {
        let (mut judge, begin) = judge();
        judge.died(ONE, begin + secs(1));
        for (number, process) in [(0, ONE), (1, OTHER), (2, OTHER)] {
            let at = begin + secs(61) * number;
            judge.arrived(key(0), arrival(number + 1, process, at, true));
        }
        let verdict = judge.verdict();
        assert_eq!((verdict.explained, verdict.unexplained.len()), (1, 1));
    }

    #[test]
    fn a_soak_without_events_proves_nothing() {
        assert!(!Judge::default().verdict().is_good());
    }

    #[test]
    fn no_delivery_runs_out_of_attempts_while_a_fault_is_on() {
        use application_webhooks::model::retry_schedule::RetrySchedule;

        let schedule = RetrySchedule::parse(SCHEDULE).expect("a schedule");
        let total: u64 = schedule.pauses_seconds().sum();
        assert!(total > 300, "{total}");
    }
}
