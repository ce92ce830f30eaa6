//! What a publish is, as the local runtime records it, and as the stand-in replays it.

use anyhow::{Context, Result};
use do_nothing::recording::{Operation, Recording};

use super::measure::Which;
use super::{Events, WEBHOOKS, application};
use crate::recording;

/// How often a recording is tried that has more in it than a publish.
const TRIES: usize = 10;

impl Events<'_> {
    /// Records a publish with its deliveries, and checks that the replay is the same.
    pub fn record(&mut self) -> Result<()> {
        let locally = self.bench.locally()?;
        let measured = std::mem::replace(&mut self.bench, locally);
        let recorded = self.record_locally();
        let locally = std::mem::replace(&mut self.bench, measured);
        self.bench.recordings = locally.recordings;
        recorded
    }

    fn record_locally(&mut self) -> Result<()> {
        let case = self.publish(false);
        let kept = self.place.fresh("recorded", &self.receiver_url())?;
        let service = self.serve(Which::Service, &kept)?;
        let first = application(0);
        let mut tries = (0..TRIES).map(|_| {
            // The URLs of the endpoints have the application's id in them.
            let seen = self
                .bench
                .exchange_as(&first, &case, &service.server, &first, "")?;
            seen.recording(&first)
        });
        let recording = tries
            .find(|recording| recording.as_ref().map_or(true, is_a_publish))
            .context("no publish was recorded without other work")??;
        drop(service);
        for one in [false, true] {
            let kind = self.publish(one).kind();
            self.bench.recordings.push((kind, recording.clone()));
        }
        let stand_in = self.serve(Which::StandIn, &kept)?;
        let second = application(1);
        let mut replayed =
            self.bench
                .exchange_as(&second, &case, &stand_in.server, &second, "/replay/0")?;
        // Once for an instance, as the service does too.
        replayed.seen.retain(|seen| seen.key != "pragma");
        recording::check(&recording, &replayed, &second).context("the replay of a publish")
    }
}

/// Whether a recording has nothing in it but a publish, its deliveries and their record.
fn is_a_publish(recording: &Recording) -> bool {
    let steps = || recording.steps.iter().chain(&recording.afterwards);
    let statements = steps().filter_map(|step| match step.operation {
        Operation::Statement { .. } => Some(step.key.as_str()),
        _ => None,
    });
    let statements: Vec<&str> = statements.collect();
    let requests = steps().filter(|step| matches!(step.operation, Operation::Request { .. }));
    let others = ["publish", "record"];
    statements.contains(&"publish")
        && statements.contains(&"record")
        && statements.iter().all(|name| others.contains(name))
        && requests.count() as u64 == WEBHOOKS
}

#[cfg(test)]
mod tests {
    use do_nothing::recording::Step;

    use super::*;

    #[test]
    fn a_recording_with_the_pumps_work_in_it_is_none_of_a_publish() {
        let step = |operation, key: &str| Step {
            operation,
            key: key.to_owned(),
            after: 0,
            pause_ms: 0,
        };
        let statement = |name| {
            let operation = Operation::Statement {
                sql: String::new(),
                parameters: Vec::new(),
            };
            step(operation, name)
        };
        let request = Operation::Request {
            method: "POST".to_owned(),
            headers: Vec::new(),
            body: String::new(),
        };
        let requests = || {
            vec![
                step(request.clone(), "http://a"),
                step(request.clone(), "http://a"),
            ]
        };
        let mut recording = Recording {
            status: 202,
            headers: Vec::new(),
            body: String::new(),
            steps: vec![statement("publish")],
            afterwards: [requests(), vec![statement("record")]].concat(),
            fewest: Vec::new(),
        };
        assert!(is_a_publish(&recording));
        recording.afterwards.push(statement("claim"));
        assert!(!is_a_publish(&recording));
        recording.afterwards = requests();
        assert!(!is_a_publish(&recording), "nothing is recorded");
    }
}
