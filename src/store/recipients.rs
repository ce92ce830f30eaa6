//! Webhooks as deliveries need them: who gets an event, where it goes now, and which were found gone.

use futures::future::{join, try_join3};

use super::index::{self, listed};
use super::key_value::Store;
use super::keys;
use super::webhooks;
use crate::concurrency::try_join_bounded;
use crate::fault::Fault;
use crate::log;
use crate::model::application::ApplicationSettings;
use crate::model::delivery_state::Standing;
use crate::model::event::EventType;
use crate::model::ids::{ApplicationId, WebhookId};
use crate::model::rotation::Rotations;
use crate::model::time::Timestamp;
use crate::model::webhook::{DisabledReason, Webhook, WebhookRecord, WebhookSettings};

/// Whom a delivery is for.
pub enum Recipient {
    /// The webhook; whether it gets deliveries, its settings say.
    Webhook(Box<Webhook>),
    /// It does not exist.
    Deleted,
}

impl Recipient {
    /// What becomes of a delivery for it.
    pub fn standing(&self, application_is_enabled: bool) -> Standing {
        match self {
            Self::Deleted => Standing::Deleted,
            Self::Webhook(_) if !application_is_enabled => Standing::ApplicationDisabled,
            Self::Webhook(webhook) if !webhook.settings().is_active => Standing::Inactive,
            Self::Webhook(_) => Standing::Active,
        }
    }
}

/// The webhook without its last test, which no delivery needs: three reads side by side.
///
/// # Errors
///
/// The store's failure.
pub async fn recipient(
    store: &Store,
    application: &ApplicationId,
    id: WebhookId,
) -> Result<Recipient, Fault> {
    let (created, settings, secrets) = (
        keys::webhook(application, id),
        keys::webhook_settings(application, id),
        keys::webhook_secrets(application, id),
    );
    let (created, settings, rotations): (
        Option<WebhookRecord>,
        Option<WebhookSettings>,
        Option<Rotations>,
    ) = try_join3(
        store.get_document(&created),
        store.get_document(&settings),
        store.get_document(&secrets),
    )
    .await?;
    let Some(created) = created else {
        return Ok(Recipient::Deleted);
    };
    if !created.belongs_under(application, id) {
        return Err(Fault::Unreadable(format!(
            "store: the document of webhook {id} is another webhook's"
        )));
    }
    Ok(Recipient::Webhook(Box::new(Webhook {
        created,
        settings,
        rotations: rotations.unwrap_or_default(),
        last_test: None,
    })))
}

/// Whether an application's webhooks get deliveries; one that is gone has none to get any.
///
/// # Errors
///
/// The store's failure.
pub async fn is_enabled(store: &Store, application: &ApplicationId) -> Result<bool, Fault> {
    let key = keys::application_settings(application);
    let settings: Option<ApplicationSettings> = store.get_document(&key).await?;
    Ok(settings.is_none_or(|settings| settings.is_enabled))
}

/// The application's webhooks that are subscribed to events of this type, inactive ones too.
///
/// One that cannot be read is left out and recorded in the log: others' events do not wait for the
/// doctor.
///
/// # Errors
///
/// The store's failure.
pub async fn subscribers(
    store: &Store,
    application: &ApplicationId,
    event_type: &EventType,
) -> Result<Vec<Webhook>, Fault> {
    let index = index::webhooks_of(store, application).await?;
    let reads = index.ids().map(|id| async {
        let read = recipient(store, application, *id).await;
        listed(read.map(Some))
    });
    let mut subscribers = Vec::new();
    for read in try_join_bounded(reads).await?.into_iter().flatten() {
        match read {
            Ok(Recipient::Webhook(webhook)) => {
                if webhook.settings().subscribed_events.includes(event_type) {
                    subscribers.push(*webhook);
                }
            }
            Ok(Recipient::Deleted) => {}
            Err(error) => log::task("a webhook gets no event", &error),
        }
    }
    Ok(subscribers)
}

/// Makes a webhook inactive whose endpoint said at `url` that it is gone, unless the merchant has
/// changed the URL or the webhook meanwhile.
///
/// # Errors
///
/// The store's failure.
pub async fn disable(
    store: &Store,
    application: &ApplicationId,
    id: WebhookId,
    url: &str,
    reason: DisabledReason,
    now: Timestamp,
) -> Result<(), Fault> {
    let Recipient::Webhook(webhook) = recipient(store, application, id).await? else {
        return Ok(());
    };
    let mut settings = webhook.settings();
    if !settings.is_active || settings.url != url {
        return Ok(());
    }
    settings.disable(reason, now);
    let written = webhooks::write_settings(store, application, id, &settings);
    written.await.map(drop)
}

/// Whether there is the application, and whether its webhooks get deliveries; `None`: there is not.
///
/// # Errors
///
/// The store's failure.
pub async fn application_is_enabled(
    store: &Store,
    application: &ApplicationId,
) -> Result<Option<bool>, Fault> {
    let key = keys::application(application);
    let (exists, enabled) = join(store.exists(&key), is_enabled(store, application)).await;
    Ok(exists?.then_some(enabled?))
}
