//! Applications as the store holds them, and their names.

use std::future::Future;
use std::ops::Range;
use std::time::Duration;

use futures::future::{join, try_join4};
use serde::{Deserialize, Deserializer, Serialize};

use super::compensation::remove_orphan;
use super::index::{self, Index, Listed, Page, listed};
use super::key_value::Store;
use super::keys;
use super::webhooks::clear_webhook;
use crate::concurrency::try_join_bounded;
use crate::fault::Fault;
use crate::model::application::{Application, ApplicationName, ApplicationRecord};
use crate::model::ids::{ApplicationId, MerchantId, WebhookId};
use crate::model::time::Timestamp;

/// The application as it was created, without its settings: whose it is.
///
/// # Errors
///
/// The store's failure.
pub async fn created(
    store: &Store,
    id: &ApplicationId,
) -> Result<Option<ApplicationRecord>, Fault> {
    store.get_document(&keys::application(id)).await
}

/// The application.
///
/// # Errors
///
/// The store's failure.
pub async fn application(store: &Store, id: &ApplicationId) -> Result<Option<Application>, Fault> {
    let read = application_and_settings(store, id).await?;
    let Some((application, settings)) = read else {
        return Ok(None);
    };
    settings.map(|()| Some(application))
}

/// The application as far as it can be read: one whose settings cannot is as it was created, and comes
/// with the reason.
///
/// # Errors
///
/// The store's failure.
pub async fn application_and_settings(
    store: &Store,
    id: &ApplicationId,
) -> Result<Option<(Application, Listed<()>)>, Fault> {
    let settings = keys::application_settings(id);
    let (created, settings) = join(created(store, id), store.get_document(&settings)).await;
    let Some(created) = created? else {
        return Ok(None);
    };
    let (settings, readable) = match listed(settings)? {
        Some(Ok(settings)) => (Some(settings), Ok(())),
        Some(Err(error)) => (None, Err(error)),
        None => (None, Ok(())),
    };
    let application = Application {
        id: id.clone(),
        created,
        settings,
    };
    Ok(Some((application, readable)))
}

/// One page of the merchant's applications, the newest first.
///
/// # Errors
///
/// The store's failure.
pub async fn page(
    store: &Store,
    merchant: &MerchantId,
    index: &mut Index<ApplicationId>,
    range: impl Fn(usize) -> Range<usize>,
) -> Result<Page<Application>, Fault> {
    let read = async |id: &ApplicationId| {
        let read = listed(application(store, id).await)?;
        // The index is a hint: an application that was handed to another merchant is not shown.
        Ok(read.filter(|read| match read {
            Ok(application) => application.created.merchant_id == *merchant,
            Err(_) => true,
        }))
    };
    let created_at = |application: &Application| application.created.created_at;
    index.page(range, read, created_at).await
}

/// Removes an application with its webhooks. The document that makes the application exist goes
/// after them, so that the merchant can repeat what failed half-way, and before all else, so that
/// an application that is still there has its settings and its name.
///
/// Returns the webhooks whose documents can come back: those created after `since`.
///
/// # Errors
///
/// The store's failure. The application is still there then, unless its removal was cut off.
pub async fn delete_application(
    store: &Store,
    id: &ApplicationId,
    since: Timestamp,
) -> Result<Vec<WebhookId>, Fault> {
    /// How many webhooks go before the index is shortened, so that the repeat of a delete that was
    /// cut off goes on from there.
    const PART: usize = 128;

    let mut index = index::webhooks_of(store, id).await?;
    let webhooks: Vec<WebhookId> = index.ids().copied().collect();
    let young = index.created_after(since).copied().collect();
    let mut parts = webhooks.chunks(PART).peekable();
    while let Some(part) = parts.next() {
        let removals = part.iter().map(|webhook| async move {
            store.delete(&keys::webhook(id, *webhook)).await?;
            clear_webhook(store, id, *webhook).await
        });
        try_join_bounded(removals).await?;
        if parts.peek().is_some() {
            index.remove(&part.iter().copied().collect()).await?;
        }
    }
    store.delete(&keys::application(id)).await?;
    Ok(young)
}

/// Removes the settings of an application that is gone. Returns whether it is there.
///
/// # Errors
///
/// The store's failure.
pub async fn remove_orphaned_settings(store: &Store, id: &ApplicationId) -> Result<bool, Fault> {
    let settings = keys::application_settings(id);
    remove_orphan(store, &keys::application(id), &settings).await
}

/// Removes what belongs to an application that is gone: the index of its webhooks, its settings, what
/// ended sessions of its portal, its claim to its name.
///
/// # Errors
///
/// The store's failure. What is left is never read.
pub async fn clear_application(store: &Store, application: &Application) -> Result<(), Fault> {
    let id = &application.id;
    let (index, settings) = (keys::webhooks(id), keys::application_settings(id));
    let (portal, changed) = (keys::portal(id), keys::webhooks_changed(id));
    try_join4(
        store.delete(&index),
        store.delete(&settings),
        store.delete(&portal),
        store.delete(&changed),
    )
    .await?;
    match &application.settings().name {
        Some(name) => release_name(store, &application.created.merchant_id, name, id).await,
        None => Ok(()),
    }
}

/// The document under `application-name/…`: who took a name last. A hint as the index is: what
/// counts is the application's own name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Claim {
    id: ApplicationId,
    /// When it was taken; earlier releases did not write it.
    at: Option<Timestamp>,
}

impl<'de> Deserialize<'de> for Claim {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Claim {
                id: ApplicationId,
                at: Option<Timestamp>,
            },
            Earlier(ApplicationId),
        }

        Ok(match Written::deserialize(deserializer)? {
            Written::Claim { id, at } => Self { id, at },
            Written::Earlier(id) => Self { id, at: None },
        })
    }
}

impl Claim {
    /// How long an application may be without the name that it claimed: after that, the request
    /// that wanted to give it the name has failed.
    const PENDING: Duration = Duration::from_secs(5);

    fn is_pending(&self, now: Timestamp) -> bool {
        self.at.is_some_and(|at| at.distance(now) < Self::PENDING)
    }

    async fn read(
        store: &Store,
        merchant: &MerchantId,
        name: &ApplicationName,
    ) -> Result<Option<Self>, Fault> {
        let key = keys::application_name(merchant, name);
        let claim = listed(store.get_document(&key).await)?;
        // One that cannot be read is no claim.
        Ok(claim.and_then(Result::ok))
    }
}

/// Who has a name.
#[derive(Debug)]
pub enum Holder {
    /// Nobody.
    Nobody,
    /// This application is being given it.
    Pending(ApplicationId),
    /// This application.
    Application(Box<Application>),
}

/// Which of the merchant's applications has this name.
async fn holder_of(
    store: &Store,
    merchant: &MerchantId,
    name: &ApplicationName,
) -> Result<Holder, Fault> {
    let Some(claim) = Claim::read(store, merchant, name).await? else {
        return Ok(Holder::Nobody);
    };
    let holder = application(store, &claim.id).await?.filter(|application| {
        application.created.merchant_id == *merchant
            && application.settings().name.as_ref() == Some(name)
    });
    Ok(match holder {
        Some(application) => Holder::Application(Box::new(application)),
        None if claim.is_pending(Timestamp::now()) => Holder::Pending(claim.id),
        None => Holder::Nobody,
    })
}

/// What came of taking a name.
#[derive(Debug)]
pub enum Taking {
    /// The application has the name.
    Taken,
    /// Another application has it, or is being given it: nothing was written.
    Refused(Holder),
    /// Another application claimed it meanwhile: what was written must be compensated.
    Lost,
}

/// Claims a name for an application and runs `write`.
///
/// Of two that claim one name at the same moment, the later one gets it. Both can only get it if a
/// single write of the later one takes longer than `write` and a read of the earlier one: the store
/// has no compare-and-swap.
///
/// # Errors
///
/// The store's failure.
pub async fn take_name(
    store: &Store,
    merchant: &MerchantId,
    name: &ApplicationName,
    id: &ApplicationId,
    write: impl Future<Output = Result<(), Fault>>,
) -> Result<Taking, Fault> {
    match holder_of(store, merchant, name).await? {
        Holder::Nobody => {}
        Holder::Pending(holder) if holder == *id => {}
        Holder::Application(holder) if holder.id == *id => {}
        other => return Ok(Taking::Refused(other)),
    }
    let claim = Claim {
        id: id.clone(),
        at: Some(Timestamp::now()),
    };
    let key = keys::application_name(merchant, name);
    store.set_document(&key, &claim).await?;
    write.await?;
    let claim = Claim::read(store, merchant, name).await?;
    Ok(match claim {
        Some(claim) if claim.id == *id => Taking::Taken,
        _ => Taking::Lost,
    })
}

/// Frees a name, if it is this application that has it.
///
/// # Errors
///
/// The store's failure.
pub async fn release_name(
    store: &Store,
    merchant: &MerchantId,
    name: &ApplicationName,
    id: &ApplicationId,
) -> Result<(), Fault> {
    match Claim::read(store, merchant, name).await? {
        Some(claim) if claim.id == *id => {
            let key = keys::application_name(merchant, name);
            store.delete(&key).await
        }
        _ => Ok(()),
    }
}
