//! The control address of tests. Loopback only.
//!
//! | request | what it does |
//! |---|---|
//! | `POST /faults` with a [`Fault`] | arms it; 201 with its `id` |
//! | `GET /faults` | the armed faults, each with its `hits` |
//! | `DELETE /faults`, `DELETE /faults/ID` | disarms all, or one |
//! | `GET /stats` | the counters |
//! | `GET /requests/NAME` | what a request did that names itself so ([`Caller`](crate::stats::Caller)) |
//! | `GET /requests/NAME/calls` | how often it called the host, before its response and after it ([`Stats::calls`](crate::stats::Stats::calls)) |
//! | `POST /clock` with `{"aheadMs": …}` | sets the clocks of guests so far ahead of the machine's: they never go back ([`Clock`](crate::clock::Clock)) |
//! | `GET /clock` | how far they are ahead |

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpListener;

use crate::faults::Fault;
use crate::instruments::Instruments;

/// Serves the control API until the process ends.
pub async fn serve(listener: TcpListener, instruments: Instruments) {
    let instruments = Arc::new(instruments);
    while let Ok((stream, _)) = listener.accept().await {
        let instruments = instruments.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let instruments = instruments.clone();
                async move { Ok::<_, Infallible>(answer(request, &instruments).await) }
            });
            // A test that hangs up is no trouble.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// The body of `POST /clock`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Move {
    ahead_ms: u64,
}

async fn answer(request: Request<Incoming>, instruments: &Instruments) -> Response<Full<Bytes>> {
    let Instruments {
        faults,
        stats,
        clock,
    } = instruments;
    let path = request.uri().path().to_owned();
    match (request.method(), path.as_str()) {
        (&Method::POST, "/faults") => match body::<Fault>(request).await {
            Ok(fault) => {
                let id = faults.arm(fault);
                reply(StatusCode::CREATED, format!(r#"{{"id":{id}}}"#))
            }
            Err(error) => reply(StatusCode::BAD_REQUEST, error),
        },
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
            let name = path.strip_prefix("/requests/").unwrap_or_default();
            let seen = match name.strip_suffix("/calls") {
                Some(name) => stats.calls(name),
                None => stats.trace(name),
            };
            match seen {
                Some(seen) => reply(StatusCode::OK, seen.to_string()),
                None => reply(StatusCode::NOT_FOUND, String::new()),
            }
        }
        (&Method::POST, "/clock") => match body::<Move>(request).await {
            Ok(Move { ahead_ms }) => {
                clock.set_ahead(Duration::from_millis(ahead_ms));
                reply(StatusCode::NO_CONTENT, String::new())
            }
            Err(error) => reply(StatusCode::BAD_REQUEST, error),
        },
        (&Method::GET, "/clock") => {
            let ahead = clock.ahead().as_millis();
            reply(StatusCode::OK, format!(r#"{{"aheadMs":{ahead}}}"#))
        }
        (&Method::GET, "/stats") => reply(StatusCode::OK, stats.to_json().to_string()),
        _ => reply(StatusCode::NOT_FOUND, String::new()),
    }
}

/// The body of a request as JSON, or what is wrong with it.
async fn body<T: serde::de::DeserializeOwned>(request: Request<Incoming>) -> Result<T, String> {
    let body = request.into_body().collect().await;
    let body = body.map_err(|error| error.to_string())?.to_bytes();
    serde_json::from_slice(&body).map_err(|error| error.to_string())
}

fn reply(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response
}
