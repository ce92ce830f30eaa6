//! Whether the service is up, for probes: no token is asked for, and nothing else is said.

use http::StatusCode;
use serde::Serialize;

use crate::config::{Config, PRIVATE_NETWORKS_OPEN};
use crate::http::error::Error;
use crate::http::response::{self, Response};
use crate::store::deadline::Deadline;
use crate::store::spin;

/// What a probe receives.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Health {
    /// In one word.
    #[schema(examples("ok", "ready"))]
    status: &'static str,
}

/// Liveness probe
///
/// The component answers.
#[utoipa::path(
    get, path = "/healthz", operation_id = "getLiveness", tag = "Probes", security(()),
    responses((status = 200, description = "The component answers.", body = Health)),
)]
pub async fn live() -> Result<Response, Error> {
    Ok(response::json(StatusCode::OK, &Health { status: "ok" })?)
}

/// Readiness probe
///
/// The configuration is sound, private networks are blocked, and the store answers in time.
#[utoipa::path(
    get, path = "/readyz", operation_id = "getReadiness", tag = "Probes", security(()),
    responses(
        (status = 200, description = "Requests can be served.", body = Health),
        (status = 503),
    ),
)]
pub async fn ready() -> Result<Response, Error> {
    let checked = async {
        let config = Config::load().await?;
        if config.reaches_private_networks() {
            return Err(Error::NotReady(PRIVATE_NETWORKS_OPEN.to_owned()));
        }
        let deadline = Deadline::with_timeout(config.store_timeout);
        let probe = spin::store();
        Ok(deadline.run("probing", probe.exists("readyz")).await?)
    };
    answer(checked.await)
}

/// What a probe is answered, given what was checked.
///
/// # Errors
///
/// [`Error::NotReady`].
pub(super) fn answer<T>(checked: Result<T, Error>) -> Result<Response, Error> {
    match checked {
        Ok(_) => Ok(response::json(StatusCode::OK, &Health { status: "ready" })?),
        Err(Error::Fault(fault)) => Err(Error::NotReady(fault.to_string())),
        Err(error) => Err(error),
    }
}
