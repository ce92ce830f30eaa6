//! What the create of an application decides for itself: its name.

use std::future::Future;

use http::StatusCode;

use super::conflict::{NAME_PENDING, NAME_TAKEN, TOO_MANY_APPLICATIONS};
use super::representation::ApplicationResponse;
use super::request::NewApplication;
use crate::api::create::{Creation, Made};
use crate::api::replay;
use crate::api::request::Context;
use crate::config::Config;
use crate::fault::Fault;
use crate::http::error::Error;
use crate::http::etag::EntityTag;
use crate::model::application::{Application, ApplicationRecord};
use crate::model::collections::set;
use crate::model::ids::{ApplicationId, MerchantId, WebhookId};
use crate::model::signing_secret::SigningSecret;
use crate::model::time::Timestamp;
use crate::store::applications::{self, Holder, Taking};
use crate::store::index::{self, Index};
use crate::store::key_value::Store;
use crate::store::keys;
use crate::store::stored_response::StoredResponse;

/// An application that a merchant creates.
#[derive(Clone)]
pub struct ApplicationCreation {
    /// The merchant.
    pub merchant: MerchantId,
    /// What the request says of it.
    pub new: NewApplication,
}

impl Creation for ApplicationCreation {
    type Id = ApplicationId;
    type Parent = ();
    type Record = ApplicationRecord;

    const READING: &str = "reading applications";
    const COUNTING: &str = "counting applications";
    const CREATING: &str = "creating an application";

    fn scope(&self, _: &Context) -> String {
        format!("create-application\n{}", self.merchant.as_str())
    }

    fn index(&self, context: &Context) -> Index<ApplicationId> {
        index::unloaded_applications(&context.store, &self.merchant)
    }

    fn limit(config: &Config) -> (usize, Error) {
        (config.max_applications, TOO_MANY_APPLICATIONS)
    }

    async fn authorize<T>(
        &self,
        _: &Context,
        beside: impl Future<Output = Result<T, Fault>>,
    ) -> Result<((), T), Error> {
        Ok(((), beside.await?))
    }

    async fn replayed_secret(
        &self,
        _: &Context,
        _: WebhookId,
        _: Timestamp,
    ) -> Result<Option<SigningSecret>, Error> {
        Ok(None)
    }

    fn check((): &()) -> Result<(), Error> {
        Ok(())
    }

    async fn make(
        &self,
        _: &Context,
        made: &Made<ApplicationId>,
        is_repeatable: bool,
    ) -> Result<(ApplicationRecord, StoredResponse), Error> {
        let application = Application {
            id: made.id.clone(),
            created: ApplicationRecord {
                merchant_id: self.merchant.clone(),
                name: Some(self.new.name.clone()),
                description: self.new.description.clone(),
                created_at: Some(made.now),
                is_repeatable,
            },
            settings: None,
        };
        let body = ApplicationResponse::from(&application);
        let response = replay::stored(
            StatusCode::CREATED,
            Some(format!("/api/v1/applications/{}", made.id)),
            &EntityTag::of(&body)?,
            &body,
            None,
        )?;
        Ok((application.created, response))
    }

    async fn write(
        &self,
        context: &Context,
        made: &Made<ApplicationId>,
        record: &ApplicationRecord,
        index: &mut Index<ApplicationId>,
    ) -> Result<Result<(), Error>, Fault> {
        // The document last: an application that is there has its name and is in the list.
        let store = &context.store;
        let (name, id) = (&self.new.name, &made.id);
        let add = index.add(id, Some(made.now));
        match applications::take_name(store, &self.merchant, name, id, add).await? {
            Taking::Taken => {}
            Taking::Refused(Holder::Application(other)) => {
                // The index may have lost it: the merchant must be able to find it.
                if !index.contains(&other.id) {
                    index.add(&other.id, other.created.created_at).await?;
                }
                return Ok(Err(NAME_TAKEN));
            }
            Taking::Refused(_) => return Ok(Err(NAME_PENDING)),
            Taking::Lost => {
                index.remove(&set([id.clone()])).await?;
                return Ok(Err(NAME_PENDING));
            }
        }
        store.set_document(&keys::application(id), record).await?;
        Ok(Ok(()))
    }

    /// Else the name stays taken by an application that nobody knows of.
    async fn remove(&self, store: &Store, id: &ApplicationId) -> Result<(), Fault> {
        store.delete(&keys::application(id)).await?;
        applications::release_name(store, &self.merchant, &self.new.name, id).await
    }
}
