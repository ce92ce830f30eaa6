//! What merchants and operators read, with few and with many events stored.

use std::fmt::Write as _;

use anyhow::Result;

use super::measure::Served;
use super::place::{application, webhook};
use super::{Events, GROWTH};
use crate::bench::load::{median, met};
use crate::bench::server::time;

/// The operator's token of the benchmark's servers.
pub const OPERATOR_TOKEN: &str = "operator-of-the-benchmark-0123456789";

/// How often each is read at each size, for each run of the benchmark.
const READS_PER_RUN: usize = 20;

/// What is read, and its path. A page has as many items with few events as with many.
fn reads() -> [(&'static str, String); 6] {
    let events = format!("/api/v1/applications/{}/events", application(1));
    let of_webhook = format!(
        "/api/v1/applications/{0}/webhooks/{1}",
        application(1),
        webhook(0, &application(1))
    );
    [
        ("a page of events", format!("{events}?limit=5")),
        (
            "a page of events of one type",
            format!("{events}?type=session.completed&limit=5"),
        ),
        (
            "a page of deliveries",
            format!("{of_webhook}/deliveries?limit=5"),
        ),
        (
            "a page of deliveries that succeeded",
            format!("{of_webhook}/deliveries?status=succeeded&limit=5"),
        ),
        ("a webhook's health", format!("{of_webhook}/health")),
        ("`/metrics`", "/metrics".to_owned()),
    ]
}

impl Events<'_> {
    /// The time of each read at both sizes, by turns.
    pub(super) fn reads(&self, sizes: [&Served; 2], many: u64) -> Result<String> {
        let mut text = format!(
            "| read, one at a time | with 1000 | with {many} | ratio | |\n|---|---|---|---|---|\n"
        );
        for (name, path) in reads() {
            let token = match path.starts_with("/api/") {
                true => self.bench.tokens.of("HS256"),
                false => OPERATOR_TOKEN,
            };
            let request = format!(
                "GET {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {token}\r\n\
                 connection: close\r\n\r\n"
            );
            let mut times = [Vec::new(), Vec::new()];
            for number in 0..=self.bench.runs * READS_PER_RUN {
                for (served, times) in sizes.iter().zip(&mut times) {
                    let took = time(served.server.address, &request)?;
                    // What an instance does once is over then.
                    if number > 0 {
                        times.push(took * 1000.0);
                    }
                }
            }
            let [few, lots] = times.map(median);
            // A page's cost must not grow with the log; what counts may.
            let holds = match name.starts_with("a page") {
                true => met(few / lots >= GROWTH),
                false => "",
            };
            let _ = writeln!(
                text,
                "| {name} | {few:.1} ms | {lots:.1} ms | {:.2} | {holds} |",
                lots / few
            );
        }
        text.push('\n');
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_of_an_application_that_the_benchmark_has() {
        for (name, path) in reads() {
            let is_its = path.starts_with("/api/v1/applications/ab0001/") || path == "/metrics";
            assert!(is_its, "{name}: {path}");
        }
    }
}
