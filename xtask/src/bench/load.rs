//! The load generator `wrk`, and what it measures.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Bench;
use super::cases::Case;
use super::seed::directory;
use super::server::Pair;
use super::tokens::middle_of_signature;
use crate::project;

/// The connections of the load generator.
pub const CONNECTIONS: usize = 32;

/// How often a load is run that gets no response at all, as where the machine is busy with other things.
const TRIES: usize = 5;

impl Bench {
    /// The service and its stand-in by turns, and what bounds the service.
    pub fn compare(&self, case: &Case, pair: &Pair) -> Result<Compared> {
        let modes = case.modes();
        let mut service = Vec::new();
        let mut others: Vec<Vec<Load>> = modes.iter().map(|_| Vec::new()).collect();
        for _ in 0..self.runs {
            service.push(self.load(case, pair.service.address, "")?);
            for (mode, loads) in modes.iter().zip(&mut others) {
                let prefix = self.replay(case, *mode)?;
                loads.push(self.load(case, pair.nothing.address, &prefix)?);
            }
        }
        let against = |loads: &Vec<Load>| {
            let ratios = service.iter().zip(loads);
            Against {
                ratio: median(ratios.map(|(ours, its)| ours.per_second / its.per_second)),
                load: Load::median(loads),
            }
        };
        let mut others = others.iter().map(against);
        let compared = Compared {
            nothing: others.next().context("no run")?,
            bounds: others.next().zip(others.next()),
            service: Load::median(&service),
        };
        eprintln!("{}: {:.2}", case.name, compared.nothing.ratio);
        Ok(compared)
    }

    /// Runs the load generator. The paths begin with `prefix`.
    pub fn load(&self, case: &Case, address: SocketAddr, prefix: &str) -> Result<Load> {
        for _ in 0..TRIES {
            let load = self.load_once(case, address, prefix)?;
            if load.requests >= 1.0 {
                return Ok(load);
            }
            eprintln!("{}: no response in {} s", case.name, self.seconds);
        }
        bail!("{}: no response, {TRIES} times", case.name)
    }

    fn load_once(&self, case: &Case, address: SocketAddr, prefix: &str) -> Result<Load> {
        let body = case
            .body
            .map_or("nil".to_owned(), |body| format!("[[{body}]]"));
        // Eight digits in the middle of the signature.
        let forge = if case.forged_anew {
            let middle = middle_of_signature(&case.token);
            let (before, after) = (&case.token[..middle], &case.token[middle + 8..]);
            format!(
                "headers[\"Authorization\"] = \"Bearer {before}\" .. string.format(\"%08d\", \
                 math.random(0, 99999999)) .. \"{after}\"\n  "
            )
        } else {
            String::new()
        };
        let script = format!(
            "math.randomseed(os.time())\n\
             local headers = {{[\"Authorization\"] = \"Bearer {}\", \
             [\"Content-Type\"] = \"application/json\"}}\n\
             request = function()\n  {forge}local path = string.format(\"{prefix}/api/v1/applications/{}\", \
             math.random(0, {}))\n  return wrk.format(\"{}\", path, headers, {body})\nend\n\
             done = function(s, l)\n  local e = s.errors\n  io.write(string.format(\
             \"RESULT %d %d %d %d %d %d\\n\", s.requests, s.duration, l:percentile(50), \
             l:percentile(99), e.status, e.connect + e.read + e.write + e.timeout))\nend\n",
            case.token,
            case.path,
            case.among - 1,
            case.method,
        );
        let file = directory().join("load.lua");
        fs::write(&file, script)?;
        let output = project::output_of(
            Command::new("wrk")
                .args(["-t1", "-c", &CONNECTIONS.to_string()])
                // A request that waits is no failure.
                .args(["--timeout", "30s"])
                .arg(format!("-d{}s", self.seconds))
                .arg("-s")
                .arg(&file)
                .arg(format!("http://{address}/")),
        )
        .context("wrk failed")?;
        let numbers: Vec<f64> = output
            .lines()
            .find_map(|line| line.strip_prefix("RESULT "))
            .context("wrk told no result")?
            .split(' ')
            .filter_map(|number| number.parse().ok())
            .collect();
        let [requests, duration_us, median_us, p99_us, refused, broken] = numbers[..] else {
            bail!("wrk told {output}");
        };
        let expected = if case.status >= 400 { requests } else { 0.0 };
        if broken > 0.0 || refused != expected {
            bail!(
                "{}: of {requests} requests {refused} were refused, and {expected} should have \
                 been; {broken} had no answer",
                case.name
            );
        }
        Ok(Load {
            requests,
            per_second: requests / duration_us * 1e6,
            median_us,
            p99_us,
        })
    }
}

/// What the load generator measured.
pub struct Load {
    /// How many requests there were.
    pub requests: f64,
    pub per_second: f64,
    pub median_us: f64,
    pub p99_us: f64,
}

impl Load {
    pub fn median(loads: &[Self]) -> Self {
        Self {
            requests: median(loads.iter().map(|load| load.requests)),
            per_second: median(loads.iter().map(|load| load.per_second)),
            median_us: median(loads.iter().map(|load| load.median_us)),
            p99_us: median(loads.iter().map(|load| load.p99_us)),
        }
    }
}

/// What is said of a target.
pub fn met(is_met: bool) -> &'static str {
    if is_met { "met" } else { "missed" }
}

/// What was measured of the service and its stand-in by turns.
pub struct Compared {
    pub service: Load,
    /// The same operations.
    pub nothing: Against,
    /// The fewest operations, and none.
    pub bounds: Option<(Against, Against)>,
}

/// What the service is compared with.
pub struct Against {
    pub load: Load,
    /// The service's throughput as a part of this.
    pub ratio: f64,
}

pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[count / 2],
        count => f64::midpoint(values[count / 2 - 1], values[count / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
