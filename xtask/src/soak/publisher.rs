//! Publishers: each publishes events for one application, until each is answered 202, and reads all of
//! them back in the end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::client::{Client, Request, random};
use super::endpoints::{Endpoints, PER_APPLICATION};
use super::tally::CHANGED_APPLICATIONS;

/// The longest pause between two events of a publisher: the load is to leave the machine time for all
/// else.
const LONGEST_PAUSE: u64 = 200;

/// How often an event is read that is not delivered yet.
const POLL: Duration = Duration::from_millis(500);

/// A publisher, and the merchant whose application it publishes to.
pub struct Publisher {
    /// With the publisher's token.
    pub client: Client,
    /// With the merchant's.
    pub reader: Client,
    /// Where the events arrive.
    pub endpoints: Arc<Endpoints>,
    published: Vec<String>,
}

impl Publisher {
    pub fn new(client: Client, reader: Client, endpoints: Arc<Endpoints>) -> Self {
        Self {
            client,
            reader,
            endpoints,
            published: Vec::new(),
        }
    }

    /// Publishes until the load is to end.
    pub async fn work(mut self) -> Self {
        while !self.client.tally.is_stopped() {
            self.publish().await;
            sleep(Duration::from_millis(random() % LONGEST_PAUSE)).await;
        }
        self
    }

    async fn publish(&mut self) {
        let key = format!("event-{:016x}", random());
        let body = json!({"type": "session.completed", "data": {"number": random()}});
        let answer = self
            .client
            .retry_until_success(Request {
                method: "POST",
                path: "/events",
                body: Some(&body),
                key: Some(&key),
                wanted: &[202],
            })
            .await;
        let Some((_, answer)) = answer else { return };
        let application = self.client.origin.application;
        match answer["id"].as_str() {
            Some(id) => {
                self.endpoints
                    .judge()
                    .published(id, endpoints_of(application));
                self.published.push(id.to_owned());
            }
            None => self.client.tally.lose("an event was published without id"),
        }
    }

    /// Reads every event back until all its deliveries succeeded; the judge learns of those that are not
    /// so in time.
    pub async fn read_back(&mut self, patience: Duration) {
        let begin = Instant::now();
        for event in std::mem::take(&mut self.published) {
            let path = format!("/events/{event}");
            loop {
                let read = self.reader.ask(Request {
                    method: "GET",
                    path: &path,
                    body: None,
                    key: None,
                    wanted: &[200],
                });
                let problem = match read.await {
                    Ok((_, read)) => problem(&event, &read),
                    Err(_) => Some(format!("{event}: it cannot be read")),
                };
                let Some(problem) = problem else { break };
                if begin.elapsed() > patience {
                    self.endpoints.judge().contradicted(problem);
                    break;
                }
                sleep(POLL).await;
            }
        }
    }
}

/// The numbers of an application's endpoints.
fn endpoints_of(application: usize) -> std::ops::Range<usize> {
    let first = (application - CHANGED_APPLICATIONS) * PER_APPLICATION;
    first..first + PER_APPLICATION
}

/// Registers an application's webhooks, for its owner.
///
/// # Errors
///
/// When one is not created.
pub async fn register(owner: &mut Client, endpoints: &Endpoints) -> Result<()> {
    for _ in 0..PER_APPLICATION {
        let body = json!({"url": endpoints.url()});
        let created = owner.retry_until_success(Request {
            method: "POST",
            path: "/webhooks",
            body: Some(&body),
            key: None,
            wanted: &[201],
        });
        let (_, created) = created.await.context("no webhook for events")?;
        let secret = created["signingSecret"].as_str();
        endpoints.add(secret.context("a webhook without its secret")?)?;
    }
    Ok(())
}

/// What is wrong with an event that was read in the end.
fn problem(event: &str, read: &Value) -> Option<String> {
    let deliveries = read["deliveries"].as_array().map_or(0, Vec::len);
    let succeeded = read["summary"]["succeeded"] == json!(PER_APPLICATION);
    match read["id"] == event && succeeded && deliveries == PER_APPLICATION {
        true => None,
        false => Some(format!("{event}: {read}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_is_read_otherwise_than_delivered_is_a_problem() {
        let event = json!({"id": "evt_1", "summary": {"succeeded": 2}, "deliveries": [{}, {}]});
        assert_eq!(problem("evt_1", &event), None);
        assert!(problem("evt_2", &event).is_some());
        for (member, other) in [
            ("summary", json!({"succeeded": 1, "pending": 1})),
            ("deliveries", json!([{}])),
        ] {
            let mut event = event.clone();
            event[member] = other;
            assert!(problem("evt_1", &event).is_some(), "{member}");
        }
    }
}
