//! What an event happened to, erased for ever.

use http::StatusCode;

use super::request::CallerRequest;
use crate::dispatch::dispatcher::Dispatcher;
use crate::http::error::Error;
use crate::http::parameters::{ApplicationPath, EventPath};
use crate::http::response::{self, Response};
use crate::model::time::Timestamp;

/// Erase event data
///
/// Erases the event's data and what endpoints answered to it, for ever: the event, its hash, its
/// deliveries and how they ended stay. Pending deliveries are suppressed (`dataErased`), but for an attempt
/// that is under way, and nothing can be sent again. Erased twice is erased. The application must belong to
/// the authenticated merchant, and may be disabled; tokens with the platform's publisher scope erase in
/// anyone's.
#[utoipa::path(
    delete, path = "/api/v1/applications/{applicationId}/events/{eventId}/data",
    operation_id = "eraseEventData", tag = "Events", params(ApplicationPath, EventPath),
    responses((status = 204, description = "The data are gone.")),
)]
pub async fn erase(mut request: CallerRequest) -> Result<Response, Error> {
    let caller = &request.caller;
    if caller.merchant().is_none() && !caller.publishes() {
        return Err(Error::Forbidden);
    }
    let application = request.application();
    let id = request.path.event(&mut request.details);
    let (context, (application, id)) = request.begin(application.zip(id))?;
    let dispatcher = Dispatcher::of_instance().await?;
    let owned = context.check_readable(&application);
    context.run_counted("reading an application", owned).await?;
    let now = Timestamp::now();
    match dispatcher.database().erase(&application, id, now).await? {
        true => Ok(response::empty(StatusCode::NO_CONTENT)),
        false => Err(Error::NotFound),
    }
}
