//! The webhook that a request names.

use crate::api::request::{Context, check_enabled};
use crate::http::error::Error;
use crate::model::ids::{ApplicationId, WebhookId};
use crate::model::webhook::Webhook;
use crate::store::index::{Listed, listed};
use crate::store::webhooks;

/// The merchant's webhook.
///
/// # Errors
///
/// [`Error::NotFound`], [`Error::Forbidden`], or the store's failure.
pub async fn find(
    context: &Context,
    application: &ApplicationId,
    id: WebhookId,
) -> Result<Webhook, Error> {
    let webhook = webhooks::webhook(&context.store, application, id);
    let found = context.authorize(application, webhook);
    let webhook = context.run("reading a webhook", found).await?;
    webhook?.ok_or(Error::NotFound)
}

/// [`find`], where the merchant may change it now; counts the change.
///
/// # Errors
///
/// [`Error::TooManyChanges`], then those of [`find`] and [`check_enabled`].
pub async fn find_for_change(
    context: &Context,
    application: &ApplicationId,
    id: WebhookId,
) -> Result<Webhook, Error> {
    Ok(find_to_delete(context, application, id).await??)
}

/// As [`find_for_change`], but a webhook that cannot be read is found too, with the reason: who
/// deletes it need not read it.
///
/// # Errors
///
/// Those of [`find_for_change`].
pub async fn find_to_delete(
    context: &Context,
    application: &ApplicationId,
    id: WebhookId,
) -> Result<Listed<Webhook>, Error> {
    let webhook = async { listed(webhooks::webhook(&context.store, application, id).await) };
    let found = async {
        let (owned, webhook) = context.authorize_change(application, webhook).await?;
        Ok((owned, webhook?.ok_or(Error::NotFound)?))
    };
    let (owned, webhook) = context.run_counted("reading a webhook", found).await?;
    check_enabled(&owned)?;
    Ok(webhook)
}

/// Lets the merchant stop what goes on in an application, also in one that is disabled, and for a webhook
/// that is gone; counts the change.
///
/// # Errors
///
/// [`Error::TooManyChanges`], [`Error::NotFound`], [`Error::Forbidden`], or the store's failure.
pub async fn find_to_stop(context: &Context, application: &ApplicationId) -> Result<(), Error> {
    let found = context.check_application(application);
    context.run_counted("reading an application", found).await
}
