//! What the benchmark's stand-in replays: the store operations, statements and outbound requests that
//! the local runtime saw the service make for a request, and the service's response.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use do_nothing::recording::{APPLICATION, EVENT, NEW_ID, Operation, Parameter, Recording, Step};
use serde::Deserialize;
use serde_json::Value;

/// How long nothing more happens when a request is over.
const OVER: Duration = Duration::from_secs(3);

/// A pause after the response that ends the recording: the last looks at an index come as late as its requests
/// may, by chance, and a replay that is watched for [`OVER`] must not be over before them.
const LATE: Duration = Duration::from_secs(2);

/// How long a request may take with all that follows it.
const PATIENCE: Duration = Duration::from_secs(60);

/// An operation as the local runtime tells it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// `get`, `set`, …
    pub op: String,
    /// To which key.
    pub key: String,
    /// The size of the value that was read or written.
    bytes: Option<usize>,
    after_response: bool,
    /// When it began and ended, in microseconds since the request came.
    began_us: u64,
    ended_us: Option<u64>,
    /// Of a statement or an outbound request.
    detail: Option<Detail>,
}

/// What exactly it was.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Detail {
    Statement {
        sql: String,
        parameters: Vec<Parameter>,
    },
    Request {
        method: String,
        headers: Vec<(String, String)>,
        body: String,
    },
}

/// A request, without its connection's headers.
pub struct Request<'a> {
    /// The method.
    pub method: &'a str,
    /// Path and query.
    pub path: &'a str,
    /// The bearer token.
    pub token: &'a str,
    /// A JSON body.
    pub body: Option<&'a str>,
}

/// A response, and what the runtime saw the component do for it.
pub struct Exchange {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
    /// The operations, in the order in which they began.
    pub seen: Vec<Seen>,
}

/// Sends a request under a name of its own, and waits until all that it causes is over.
///
/// # Errors
///
/// When there is no answer, or no end.
pub fn exchange(
    server: SocketAddr,
    control: SocketAddr,
    name: &str,
    request: &Request<'_>,
) -> Result<Exchange> {
    let body = request.body.unwrap_or_default();
    let answer = ask(
        server,
        &format!(
            "{} {} HTTP/1.1\r\nHost: bench\r\nx-local-runtime-request: {name}\r\nAuthorization: \
             Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: \
             close\r\n\r\n{body}",
            request.method,
            request.path,
            request.token,
            body.len(),
        ),
    )?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no response")?;
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let status = status.and_then(|status| status.parse().ok());
    let of_the_connection = |name: &str| ["connection", "date"].contains(&name);
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .filter(|(name, _)| !of_the_connection(name))
        .collect();
    Ok(Exchange {
        status: status.with_context(|| format!("no status: {head}"))?,
        headers,
        body: body.to_owned(),
        seen: all_seen(control, name)?,
    })
}

fn all_seen(control: SocketAddr, name: &str) -> Result<Vec<Seen>> {
    let started = Instant::now();
    let (mut last, mut since) = (String::new(), started);
    while started.elapsed() < PATIENCE {
        let answer = ask(
            control,
            &format!("GET /requests/{name} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"),
        )?;
        let (_, now) = answer.split_once("\r\n\r\n").context("no operations")?;
        if now != last {
            (last, since) = (now.to_owned(), Instant::now());
        }
        let seen: Vec<Seen> = serde_json::from_str(&last)
            .with_context(|| format!("the local runtime told of no operations: {answer}"))?;
        let ended = seen.iter().all(|operation| operation.ended_us.is_some());
        if ended && since.elapsed() > OVER {
            return Ok(seen);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    bail!("a request does not come to an end: {last}")
}

fn ask(address: SocketAddr, request: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

impl Exchange {
    /// The recording, of a request about this application.
    ///
    /// # Errors
    ///
    /// When an operation cannot be replayed.
    pub fn recording(self, application: &str) -> Result<Recording> {
        let body = serde_json::from_str::<Value>(&self.body).unwrap_or_default();
        let made = match self.status {
            201 => body["id"].as_str().map(|id| (id, NEW_ID)),
            202 => body["id"].as_str().map(|id| (id, EVENT)),
            _ => None,
        };
        let spelled = |key: &str| {
            let key = key.replace(application, APPLICATION);
            match made {
                Some((id, name)) => key.replace(id, name),
                None => key,
            }
        };
        // Once an event is stored there is nothing left to do for the response. What begins then may begin
        // before it is written.
        let stored = self.seen.iter();
        let stored = stored.filter(|it| it.op == "sql" && it.key == "publish");
        let stored = stored.filter_map(|it| it.ended_us).max();
        let is_after = |it: &Seen| it.after_response || stored.is_some_and(|at| it.began_us >= at);
        let (afterwards, until): (Vec<_>, Vec<_>) = self.seen.into_iter().partition(is_after);
        let responded = until.iter().filter_map(|seen| seen.ended_us).max();
        let mut read = BTreeMap::new();
        let mut steps = |seen: &[Seen], since: Option<u64>| {
            seen.iter()
                .enumerate()
                .map(|(number, it)| {
                    let ended = seen[..number].iter().filter_map(|it| it.ended_us);
                    let ended: Vec<u64> = ended.filter(|at| *at <= it.began_us).collect();
                    let waited_for = ended.iter().copied().max().max(since);
                    let pause_us = it.began_us.saturating_sub(waited_for.unwrap_or_default());
                    let operation = match it.op.as_str() {
                        "get" => Operation::Get,
                        "set" => {
                            let bytes = it.bytes.context("a value of unknown size")?;
                            let before: Option<usize> = read.get(&it.key).copied();
                            let growth = before.map(|before| bytes as i64 - before as i64);
                            Operation::Set { bytes, growth }
                        }
                        "delete" => Operation::Delete,
                        "exists" => Operation::Exists,
                        "sql" | "http" => exact(it, &spelled)?,
                        other => bail!("`{other}` cannot be replayed: extend bench/"),
                    };
                    if let Some(bytes) = it.bytes {
                        read.insert(it.key.clone(), bytes);
                    }
                    Ok(Step {
                        operation,
                        key: spelled(&it.key),
                        after: ended.len(),
                        pause_ms: since.map_or(0, |_| pause_us / 1000),
                    })
                })
                .collect::<Result<Vec<_>>>()
        };
        let until = steps(&until, None)?;
        let mut afterwards = steps(&afterwards, Some(responded.unwrap_or_default()))?;
        let is_late = |step: &Step| Duration::from_millis(step.pause_ms) >= LATE;
        if let Some(late) = afterwards.iter().position(is_late) {
            afterwards.truncate(late);
        }
        Ok(Recording {
            status: self.status,
            headers: self.headers,
            body: self.body,
            steps: until,
            afterwards,
            fewest: Vec::new(),
        })
    }
}

/// A statement or an outbound request, as it is replayed.
fn exact(seen: &Seen, spelled: &dyn Fn(&str) -> String) -> Result<Operation> {
    let detail = seen.detail.clone();
    Ok(
        match detail.with_context(|| format!("no more is known of {}", seen.key))? {
            Detail::Statement { sql, parameters } => Operation::Statement {
                sql,
                parameters: parameters
                    .into_iter()
                    .map(|parameter| match parameter {
                        Parameter::Text(text) => Parameter::Text(spelled(&text)),
                        other => other,
                    })
                    .collect(),
            },
            Detail::Request {
                method,
                headers,
                body,
            } => Operation::Request {
                method,
                headers: headers
                    .into_iter()
                    // The client's own.
                    .filter(|(name, _)| name != "host")
                    .map(|(name, value)| (name, spelled(&value)))
                    .collect(),
                body: spelled(&body),
            },
        },
    )
}

/// Says what the stand-in did otherwise than the recording has it.
///
/// # Errors
///
/// When it is anything.
pub fn check(recording: &Recording, replayed: &Exchange, application: &str) -> Result<()> {
    let mut left: Vec<&Seen> = replayed.seen.iter().collect();
    for step in recording.steps.iter().chain(&recording.afterwards) {
        let key = step.key.replace(APPLICATION, application);
        // The id is another one each time.
        let (before, after) = key.split_once(NEW_ID).unwrap_or((&key, ""));
        let (op, bytes) = match &step.operation {
            Operation::Get => ("get", None),
            // What grows depends on what is there.
            Operation::Set { bytes, growth } => ("set", growth.is_none().then_some(*bytes)),
            Operation::Delete => ("delete", None),
            Operation::Exists => ("exists", None),
            Operation::Statement { .. } => ("sql", None),
            Operation::Request { .. } => ("http", None),
        };
        let same = left.iter().position(|seen| {
            seen.op == op
                && seen.key.starts_with(before)
                && seen.key.ends_with(after)
                && bytes.is_none_or(|bytes| seen.bytes == Some(bytes))
        });
        match same {
            Some(position) => drop(left.remove(position)),
            None => bail!("the stand-in lacks {step:?}: {:?}", replayed.seen),
        }
    }
    if let Some(more) = left.first() {
        bail!("the stand-in does {more:?}, which the service does not");
    }
    if (recording.status, recording.body.len()) != (replayed.status, replayed.body.len()) {
        bail!("the stand-in answers {} {}", replayed.status, replayed.body);
    }
    Ok(())
}

#[cfg(test)]
#[path = "recording_tests.rs"]
mod tests;
