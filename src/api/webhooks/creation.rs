//! What the create of a webhook decides for itself.

use std::future::Future;

use http::StatusCode;

use super::representation::WebhookResponse;
use super::request::NewWebhook;
use crate::api::create::{Creation, Made};
use crate::api::replay;
use crate::api::request::{Context, check_enabled};
use crate::config::Config;
use crate::fault::Fault;
use crate::http::error::Error;
use crate::http::idempotency;
use crate::model::application::Application;
use crate::model::event::SubscribedEvents;
use crate::model::ids::{ApplicationId, WebhookId};
use crate::model::rotation::StoredSecret;
use crate::model::signing_secret::SigningSecret;
use crate::model::time::Timestamp;
use crate::model::webhook::{Webhook, WebhookRecord};
use crate::store::compensation::remove_orphan;
use crate::store::index::{self, Index};
use crate::store::key_value::Store;
use crate::store::stored_response::StoredResponse;
use crate::store::{keys, webhooks};

/// A webhook that is created in an application.
#[derive(Clone)]
pub struct WebhookCreation {
    /// The application.
    pub application: ApplicationId,
    /// What the request says of it.
    pub new: NewWebhook,
}

impl Creation for WebhookCreation {
    type Id = WebhookId;
    type Parent = Application;
    /// `None`: an earlier request with the same key has written it.
    type Record = Option<WebhookRecord>;

    const READING: &str = "reading webhooks";
    const COUNTING: &str = "counting webhooks";
    const CREATING: &str = "creating a webhook";

    fn scope(&self, _: &Context) -> String {
        format!("create-webhook\n{}", self.application)
    }

    fn index(&self, context: &Context) -> Index<WebhookId> {
        index::unloaded_webhooks(&context.store, &self.application)
    }

    fn limit(config: &Config) -> (usize, Error) {
        let limit = config.max_webhooks;
        let message = format!("The application already has the maximum of {limit} webhooks");
        (limit, Error::invalid("applicationId", message))
    }

    async fn authorize<T>(
        &self,
        context: &Context,
        beside: impl Future<Output = Result<T, Fault>>,
    ) -> Result<(Application, T), Error> {
        let (application, beside) = context.authorize_change(&self.application, beside).await?;
        Ok((application, beside?))
    }

    async fn replayed_secret(
        &self,
        context: &Context,
        made: WebhookId,
        now: Timestamp,
    ) -> Result<Option<SigningSecret>, Error> {
        let webhook = self.find(context, made).await?;
        let webhook = webhook.ok_or(idempotency::DELETED)?;
        first_secret(&webhook, context.config, now).map(Some)
    }

    fn check(application: &Application) -> Result<(), Error> {
        check_enabled(application)
    }

    async fn make(
        &self,
        context: &Context,
        made: &Made<WebhookId>,
        is_repeat_possible: bool,
    ) -> Result<(Option<WebhookRecord>, StoredResponse), Error> {
        // The repeat of a create that was cut off goes on with what that wrote.
        let begun = match is_repeat_possible {
            true => self.find(context, made.id).await?,
            false => None,
        };
        let is_begun = begun.is_some();
        let record = match begun {
            Some(webhook) => {
                first_secret(&webhook, context.config, made.now)?;
                webhook.created
            }
            None => self.record(context.config, made, is_repeat_possible),
        };
        let webhook = Webhook::new(record);
        let body = WebhookResponse::from(&webhook);
        let (application, id) = (&self.application, made.id);
        let response = replay::stored(
            StatusCode::CREATED,
            Some(format!("/api/v1/applications/{application}/webhooks/{id}")),
            &body.tag()?,
            &body.with_secret(&made.secret),
            Some(&made.secret),
        )?;
        Ok(((!is_begun).then_some(webhook.created), response))
    }

    async fn write(
        &self,
        context: &Context,
        made: &Made<WebhookId>,
        record: &Option<WebhookRecord>,
        index: &mut Index<WebhookId>,
    ) -> Result<Result<(), Error>, Fault> {
        // The webhook before the index: an id in the index always had a webhook. What is there is not
        // written again: whoever deletes it knows by its age whether a write of it can be under way.
        if let Some(record) = record {
            let key = keys::webhook(&self.application, made.id);
            context.store.set_document(&key, record).await?;
        }
        index.add(&made.id, Some(made.now)).await?;
        Ok(Ok(()))
    }

    async fn remove(&self, store: &Store, id: &WebhookId) -> Result<(), Fault> {
        store.delete(&keys::webhook(&self.application, *id)).await
    }

    async fn remove_orphan(&self, store: &Store, id: &WebhookId) -> Result<(), Fault> {
        let (owner, key) = (
            keys::application(&self.application),
            keys::webhook(&self.application, *id),
        );
        remove_orphan(store, &owner, &key).await.map(drop)
    }
}

impl WebhookCreation {
    async fn find(&self, context: &Context, id: WebhookId) -> Result<Option<Webhook>, Fault> {
        let webhook = webhooks::webhook(&context.store, &self.application, id);
        context.run("reading a webhook", webhook).await
    }

    fn record(
        &self,
        config: &Config,
        made: &Made<WebhookId>,
        is_repeatable: bool,
    ) -> WebhookRecord {
        let NewWebhook {
            url,
            subscribed_events,
        } = self.new.clone();
        WebhookRecord {
            v: WebhookRecord::VERSION,
            id: made.id,
            application_id: Some(self.application.clone()),
            url: url.as_str().to_owned(),
            is_active: true,
            subscribed_events: subscribed_events
                .unwrap_or_else(|| SubscribedEvents::Of(config.event_types.clone())),
            secret: StoredSecret::seal(&config.secrets_key, made.id, &made.secret),
            created_at: made.now,
            is_tracked: true,
            is_repeatable,
        }
    }
}

/// The secret that the response to a webhook's create showed, for a repeat of it.
///
/// # Errors
///
/// [`idempotency::OVERTAKEN`] when deliveries are not signed with it any more, and
/// [`Fault::Dependency`] when it cannot be decrypted.
fn first_secret(
    webhook: &Webhook,
    config: &Config,
    now: Timestamp,
) -> Result<SigningSecret, Error> {
    let first = webhook.first_secret();
    if !webhook.live_secrets(now).contains(&first) {
        return Err(idempotency::OVERTAKEN);
    }
    let secret = webhooks::open_secret(webhook.created.id, first, &config.secrets_key);
    Ok(secret?)
}
