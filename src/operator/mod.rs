//! What the operator asks of the service, on every store: what is wrong in it and its repair, the
//! indexes, secrets under a new key, and figures.
//!
//! All of it works beside requests, and without compare-and-swap: that blocks the instance, and on
//! Redis it always fails. So each step that writes says why it can meet a request, be cut off and be
//! repeated; what cannot is only reported. A finding counts when it is still there two seconds
//! later, since a request may be half-way.

mod access;
mod doctor;
mod finding;
mod inventory;
mod metrics;
mod reencrypt;
mod report;
#[cfg(test)]
mod tests;

use http::StatusCode;

use self::access::Access;
use self::doctor::{Doctor, Scope};
use self::reencrypt::Reencryption;
use self::report::{Done, Report};
use crate::config::Config;
use crate::dispatch::dispatcher::Dispatcher;
use crate::events::database::Database;
use crate::fault::Fault;
use crate::http::details::Details;
use crate::http::error::Error;
use crate::http::query::Query;
use crate::http::response::{self, Response};
use crate::log;
use crate::store::deadline::Deadline;
use crate::store::key_value::Store;

/// The operator's request.
pub struct Request {
    /// This instance's configuration.
    pub config: &'static Config,
    /// Where everything but events is kept.
    pub store: Store,
    /// The id of the request: in its log line, in `x-request-id`, and in the log lines of what goes
    /// on after the response has begun.
    pub request_id: String,
    /// Its query string.
    pub query: Query,
    /// What was wrong with the query string.
    pub details: Details,
}

/// `POST /operator/v1/doctor`: reads the whole store and reports what is wrong; with `?fix=true`
/// repairs what needs no person.
///
/// # Errors
///
/// [`Error::Invalid`].
pub async fn doctor(mut request: Request) -> Result<Response, Error> {
    let fix = flag(&mut request, "fix")?;
    Ok(stream(&request, "doctor", async move |access, report| {
        let doctor = Doctor::new(access, report, Scope::Everything);
        doctor.examine(fix).await
    }))
}

/// `POST /operator/v1/reindex`: the part of [`doctor`] with `?fix=true` that is about indexes.
///
/// # Errors
///
/// [`Error::Invalid`].
pub async fn reindex(mut request: Request) -> Result<Response, Error> {
    std::mem::take(&mut request.details).finish()?;
    Ok(stream(&request, "reindex", async move |access, report| {
        let doctor = Doctor::new(access, report, Scope::Indexes);
        doctor.examine(true).await
    }))
}

/// `POST /operator/v1/reencrypt`: encrypts under `secrets_key` what is under `secrets_key_previous`.
///
/// # Errors
///
/// [`Error::Invalid`].
pub async fn reencrypt(mut request: Request) -> Result<Response, Error> {
    std::mem::take(&mut request.details).finish()?;
    let key = &request.config.secrets_key;
    Ok(stream(
        &request,
        "reencrypt",
        async move |access, report| Reencryption::new(access, report, key).run().await,
    ))
}

/// `GET /metrics`: figures, in Prometheus' text format; with `?documents=true` also how many
/// documents there are, for which every key is listed.
///
/// # Errors
///
/// [`Error::Invalid`], and the store's failure to list its keys.
pub async fn metrics(request: Request) -> Result<Response, Error> {
    let dispatcher = Dispatcher::of_instance().await?;
    figures(request, dispatcher.database()).await
}

/// [`metrics`], of this database of events.
async fn figures(mut request: Request, database: &dyn Database) -> Result<Response, Error> {
    let documents = flag(&mut request, "documents")?;
    let text = metrics::text(&access(&request), request.config, database, documents).await?;
    Ok(response::text(StatusCode::OK, metrics::MEDIA_TYPE, text))
}

fn access(request: &Request) -> Access {
    Access {
        store: request.store.clone(),
        deadline: Deadline::with_timeout(request.config.store_timeout),
        request_id: request.request_id.clone(),
    }
}

/// A response whose lines are what `work` reports, and at the end its counts.
fn stream(
    request: &Request,
    what: &'static str,
    work: impl AsyncFnOnce(Access, Report) -> Result<Done, Fault> + 'static,
) -> Response {
    let (access, request_id) = (access(request), request.request_id.clone());
    response::lines(async move |writer| {
        let report = Report::new(writer);
        match work(access, report.clone()).await {
            Ok(done) => report.done(&done),
            Err(error) => {
                log::background(&request_id, &format!("{what} stopped"), &error);
                report.stopped(&error);
            }
        }
    })
}

/// A parameter of the query string that is `true` or `false`; without it, `false`.
fn flag(request: &mut Request, name: &str) -> Result<bool, Error> {
    let flag = match request.query.get(name) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err("Must be true or false"),
    };
    let flag = request.details.check(name, flag);
    std::mem::take(&mut request.details).all(flag)
}
