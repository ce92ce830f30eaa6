//! The control address of tests: arms faults, tells the counters and what requests did. Loopback
//! only.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::faults::{Fault, Faults};
use crate::stats::Stats;

/// Serves the control API until the process ends.
pub async fn serve(listener: TcpListener, faults: Arc<Faults>, stats: Arc<Stats>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (faults, stats) = (faults.clone(), stats.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let (faults, stats) = (faults.clone(), stats.clone());
                async move { Ok::<_, Infallible>(answer(request, &faults, &stats).await) }
            });
            // A test that hangs up is no trouble.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    faults: &Faults,
    stats: &Stats,
) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    match (request.method(), path.as_str()) {
        (&Method::POST, "/faults") => {
            let body = match request.into_body().collect().await {
                Ok(body) => body.to_bytes(),
                Err(error) => return reply(StatusCode::BAD_REQUEST, error.to_string()),
            };
            match serde_json::from_slice::<Fault>(&body) {
                Ok(fault) => {
                    let id = faults.arm(fault);
                    reply(StatusCode::CREATED, format!(r#"{{"id":{id}}}"#))
                }
                Err(error) => reply(StatusCode::BAD_REQUEST, error.to_string()),
            }
        }
        (&Method::GET, "/faults") => reply(StatusCode::OK, faults.to_json().to_string()),
        (&Method::DELETE, "/faults") => {
            faults.disarm(None);
            reply(StatusCode::NO_CONTENT, String::new())
        }
        (&Method::DELETE, path) => {
            let id = path.strip_prefix("/faults/").and_then(|id| id.parse().ok());
            let Some(id) = id else {
                return reply(StatusCode::NOT_FOUND, String::new());
            };
            faults.disarm(Some(id));
            reply(StatusCode::NO_CONTENT, String::new())
        }
        (&Method::GET, path) if path.starts_with("/requests/") => {
            let trace = path
                .strip_prefix("/requests/")
                .and_then(|name| stats.trace(name));
            match trace {
                Some(trace) => reply(StatusCode::OK, trace.to_string()),
                None => reply(StatusCode::NOT_FOUND, String::new()),
            }
        }
        (&Method::GET, "/stats") => reply(StatusCode::OK, stats.to_json().to_string()),
        _ => reply(StatusCode::NOT_FOUND, String::new()),
    }
}

fn reply(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response
}
