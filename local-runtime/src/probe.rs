//! Asks whether the dispatcher is ready, every second, as a load balancer or Kubernetes would: that is
//! what keeps deliveries going when nobody publishes.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Where it asks.
pub const PATH: &str = "/dispatcher/readyz";

const INTERVAL: Duration = Duration::from_secs(1);

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Whether an application with these routes has something to ask.
pub fn applies<'a>(mut routes: impl Iterator<Item = &'a str>) -> bool {
    routes.any(|route| route == PATH || route == "/dispatcher/...")
}

/// Asks until it is dropped, and reports on standard error when the answer is another one.
pub async fn run(server: SocketAddr) {
    let url: Uri = format!("http://{server}{PATH}")
        .parse()
        .expect("an address and a path are a URL");
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = "200".to_owned();
    loop {
        ticks.tick().await;
        let ask = async {
            let response = client.get(url.clone()).await?;
            let status = response.status();
            response.into_body().collect().await?;
            anyhow::Ok(status)
        };
        let answer = match timeout(TIMEOUT, ask).await {
            Ok(Ok(status)) => status.as_str().to_owned(),
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => format!("no answer in {} s", TIMEOUT.as_secs()),
        };
        if answer != last {
            eprintln!("{PATH}: {answer}");
            last = answer;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn only_an_application_with_a_dispatcher_is_asked() {
        assert!(applies(["/...", "/dispatcher/readyz"].into_iter()));
        assert!(applies(["/dispatcher/..."].into_iter()));
        assert!(!applies(["/...", "/docs/...", "/dispatchers"].into_iter()));
    }

    #[tokio::test]
    async fn it_asks_again_and_again_whatever_the_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let probe = tokio::spawn(run(listener.local_addr().unwrap()));
        let since = tokio::time::Instant::now();
        for answer in ["503 Service Unavailable", "garbage", "200 OK"] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).await.unwrap();
            assert!(request[..read].starts_with(b"GET /dispatcher/readyz HTTP/1.1\r\n"));
            let answer =
                format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        assert!(since.elapsed() >= INTERVAL * 2 - Duration::from_millis(100));
        probe.abort();
    }
}
