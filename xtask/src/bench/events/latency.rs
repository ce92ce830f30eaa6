//! How long it takes from a publish to the arrival of its deliveries, at a steady rate.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use do_nothing::recording::MARKER;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant as TokioInstant, sleep, sleep_until};

use super::receiver::Receiver;

/// How many connections publish by turns.
const CONNECTIONS: u64 = 16;

/// How long the last deliveries may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where events are published, and how many.
#[derive(Clone)]
pub struct Rate {
    /// Who serves.
    pub address: SocketAddr,
    /// The path before `/api/v1`.
    pub prefix: String,
    /// Of the publisher.
    pub token: String,
    /// The body, with [`MARKER`] in it.
    pub body: &'static str,
    /// How many events a second.
    pub per_second: f64,
    /// For how long.
    pub duration: Duration,
}

/// Times from a publish to an arrival, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// The median.
    pub p50_ms: f64,
    /// The 99th of a hundred.
    pub p99_ms: f64,
}

/// Publishes at that rate, and waits until each event came to two endpoints.
///
/// # Errors
///
/// When an event is refused, or does not come.
pub async fn measure(rate: Rate, receiver: &Receiver) -> Result<Times> {
    let count = (rate.per_second * rate.duration.as_secs_f64()) as u64;
    receiver.note();
    let begin = TokioInstant::now() + Duration::from_millis(20);
    let rate = Arc::new(rate);
    let publishers: Vec<_> = (0..CONNECTIONS)
        .map(|number| tokio::spawn(publish(rate.clone(), number, count, begin)))
        .collect();
    let mut sent = vec![None; usize::try_from(count)? + 1];
    for publisher in publishers {
        for (number, at) in publisher.await?? {
            sent[usize::try_from(number)?] = Some(at);
        }
    }
    let since = Instant::now();
    while receiver.noted_so_far() < 2 * count && since.elapsed() < PATIENCE {
        sleep(Duration::from_millis(20)).await;
    }
    let noted = receiver.noted();
    let mut times: Vec<f64> = noted
        .iter()
        .filter_map(|(number, at)| {
            let sent = sent
                .get(usize::try_from(*number).ok()?)
                .copied()
                .flatten()?;
            Some(at.saturating_duration_since(sent).as_secs_f64() * 1e3)
        })
        .collect();
    if (times.len() as u64) < 2 * count {
        bail!("of {} deliveries {} came", 2 * count, times.len());
    }
    times.sort_by(f64::total_cmp);
    Ok(Times {
        p50_ms: quantile(&times, 0.5),
        p99_ms: quantile(&times, 0.99),
    })
}

/// Publishes every [`CONNECTIONS`]th event. Returns the numbers of the events, and when they were sent.
async fn publish(
    rate: Arc<Rate>,
    first: u64,
    count: u64,
    begin: TokioInstant,
) -> Result<Vec<(u64, Instant)>> {
    let stream = TcpStream::connect(rate.address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut sent = Vec::new();
    for number in (first..count).step_by(CONNECTIONS as usize) {
        sleep_until(begin + Duration::from_secs_f64(number as f64 / rate.per_second)).await;
        // The marker itself has number 0.
        let number = number + 1;
        let application = super::application(number as usize % super::APPLICATIONS);
        let marker = format!("bench-{number:012}");
        let uri = format!("{}/api/v1/applications/{application}/events", rate.prefix);
        let request = Request::post(uri)
            .header("host", "bench")
            .header("authorization", format!("Bearer {}", rate.token))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(rate.body.replace(MARKER, &marker))))?;
        sender.ready().await?;
        sent.push((number, Instant::now()));
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if status != 202 {
            bail!("{status}: {}", String::from_utf8_lossy(&body));
        }
    }
    Ok(sent)
}

fn quantile(sorted: &[f64], part: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let place = (last as f64 * part).round() as usize;
    sorted.get(place).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles() {
        let times: Vec<f64> = (0..=100).map(f64::from).collect();
        assert_eq!(
            (quantile(&times, 0.5), quantile(&times, 0.99)),
            (50.0, 99.0)
        );
        assert!(quantile(&[], 0.5).is_nan());
    }
}
