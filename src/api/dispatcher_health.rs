//! Whether the dispatcher is up, for probes, which are its clock too.

use futures::future::try_join;

use super::health::{Health, answer};
use crate::config::{Config, PRIVATE_NETWORKS_OPEN};
use crate::dispatch::dispatcher::Dispatcher;
use crate::http::error::Error;
use crate::http::response::Response;
use crate::store::deadline::Deadline;
use crate::store::spin;

/// Dispatcher's readiness probe
///
/// The configuration is sound, private networks are blocked, and the store and the events' database
/// answer in time. Each probe has what is due delivered: ask every second or every few seconds, and
/// deliveries are repeated when it is time.
#[utoipa::path(
    get, path = "/dispatcher/readyz", operation_id = "getDispatcherReadiness", tag = "Probes",
    security(()),
    responses(
        (status = 200, description = "Events can be published.", body = Health),
        (status = 503),
    ),
)]
pub async fn ready() -> Result<Response, Error> {
    let checked = async {
        let config = Config::load().await?;
        let dispatcher = Dispatcher::of_instance().await?;
        if config.reaches_private_networks() {
            return Err(Error::NotReady(PRIVATE_NETWORKS_OPEN.to_owned()));
        }
        let store = spin::store();
        let deadline = Deadline::with_timeout(config.store_timeout);
        let store = deadline.run("probing", store.exists("readyz"));
        try_join(store, dispatcher.database().next_due()).await?;
        dispatcher.wake(true);
        Ok(())
    };
    answer(checked.await)
}
