//! Webhooks as deliveries need them: who gets an event, where it goes now, and which were found gone.

use futures::future::{join, try_join3};

use super::compensation::compensate;
use super::deadline::Deadline;
use super::index::{self, listed};
use super::key_value::Store;
use super::keys;
use super::rotations::{RotationsDocument, Written};
use super::webhooks;
use crate::concurrency::try_join_bounded;
use crate::fault::Fault;
use crate::log;
use crate::model::application::ApplicationSettings;
use crate::model::condition::Condition;
use crate::model::delivery_state::Standing;
use crate::model::event::EventType;
use crate::model::ids::{ApplicationId, WebhookId};
use crate::model::rotation::Rotations;
use crate::model::webhook::{Webhook, WebhookRecord, WebhookSettings};

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
            Self::Webhook(webhook) if webhook.disabled().is_some() => Standing::Disabled,
            Self::Webhook(webhook) if !webhook.is_active() => Standing::Inactive,
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
    subscribers_besides(store, application, event_type, &[]).await
}

/// As [`subscribers`], without these webhooks, which are not read.
///
/// # Errors
///
/// The store's failure.
pub async fn subscribers_besides(
    store: &Store,
    application: &ApplicationId,
    event_type: &EventType,
    known: &[WebhookId],
) -> Result<Vec<Webhook>, Fault> {
    let index = index::webhooks_of(store, application).await?;
    let others = index.ids().filter(|id| !known.contains(id));
    let reads = others.map(|id| async {
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

/// Adds what was found out to what the store has of a webhook. Returns whether there is the webhook.
///
/// # Errors
///
/// The store's failure. What was written all the same of a webhook that is gone is removed then.
pub async fn note(
    store: &Store,
    application: &ApplicationId,
    id: WebhookId,
    condition: Condition,
    deadline: &Deadline,
) -> Result<bool, Fault> {
    let document = RotationsDocument::of(store, application, id);
    let mut found = Rotations::default();
    found.condition = condition;
    let kept = async {
        webhooks::note_change(store, application, id, deadline, "").await?;
        document.keep_all(&mut found).await
    };
    match deadline.run("noting what a webhook does", kept).await {
        Ok(kept) => Ok(kept == Written::Kept),
        Err(error) => {
            let clear = async move || document.clear().await;
            compensate(error.is_timeout(), deadline, "", clear);
            Err(error)
        }
    }
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
