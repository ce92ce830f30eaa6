//! Whether the service is up, for probes: no token is asked for, and nothing else is told.

use axum::response::Response;
use http::StatusCode;
use serde::Serialize;

use crate::config::Config;
use crate::error::{self, Error};
use crate::store::{self, Store};

/// What a probe is told.
#[derive(Debug, Serialize)]
pub struct Health {
    status: &'static str,
}

/// `GET /healthz`: the component answers.
pub async fn live() -> Response {
    error::json(StatusCode::OK, &Health { status: "ok" })
}

/// `GET /readyz`: the configuration is sound and the store answers in time.
pub async fn ready() -> Result<Response, Error> {
    let checked = async {
        let config = Config::load().await?;
        Store::with_timeout(config.store_timeout)
            .in_time("probing", store::exists("readyz"))
            .await
    };
    match checked.await {
        Ok(_) => Ok(error::json(StatusCode::OK, &Health { status: "ready" })),
        Err(
            Error::Dependency(cause)
            | Error::Unreadable(cause)
            | Error::DependencyTimeout(cause)
            | Error::Internal(cause),
        ) => Err(Error::NotReady(cause)),
        Err(error) => Err(error),
    }
}
