//! Makes known what happened to merchants' webhooks. Each is a line of the log, and an ordinary event of the
//! application in variable `operator_application`.
//!
//! What happens to webhooks of that application itself is a line of the log only: an event about them
//! would go to them, fail as well, and so make the next one.

use std::rc::Rc;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::delivery;
use super::dispatcher::Dispatcher;
use super::fan_out::{self, Plan};
use super::operational::{About, Operational};
use crate::events::database::{NewEvent, PublishKey, Published};
use crate::fault::Fault;
use crate::log;
use crate::model::ids::{ApplicationId, EventId, WebhookId};
use crate::model::time::Timestamp;
use crate::store::deadline::Deadline;
use crate::store::recipients;

/// The `data` of an operational event.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OperationalData<'a> {
    application_id: &'a ApplicationId,
    webhook_id: WebhookId,
    #[serde(flatten)]
    happened: &'a Operational,
}

impl Dispatcher {
    /// Makes known what happened. `occurrence` distinguishes it from others of its kind and webhook: whoever
    /// makes the same known again, in whichever process, adds nothing.
    ///
    /// # Errors
    ///
    /// The failure of the store or of the database. Then it is not known yet.
    pub(super) async fn announce(
        self: &Rc<Self>,
        about: &About,
        happened: &Operational,
        occurrence: &str,
    ) -> Result<(), Fault> {
        let is_new = match self.config.operator_application.as_ref() {
            Some(operator) if *operator != about.application => {
                self.publish_to(operator, about, happened, occurrence)
                    .await?
            }
            _ => true,
        };
        if is_new {
            log::operational(happened.kind().as_str(), &about.application, about.webhook);
        }
        Ok(())
    }

    /// Publishes it as an event of the operator's application. Returns whether nobody has before.
    async fn publish_to(
        self: &Rc<Self>,
        operator: &ApplicationId,
        about: &About,
        happened: &Operational,
        occurrence: &str,
    ) -> Result<bool, Fault> {
        let (store, kind) = (&self.store, happened.kind());
        let event_type = kind.event_type();
        let reads = async {
            let enabled = recipients::application_is_enabled(store, operator);
            let subscribers = recipients::subscribers(store, operator, &event_type);
            let (enabled, subscribers) = futures::future::join(enabled, subscribers).await;
            Ok((enabled?, subscribers?))
        };
        let deadline = Deadline::with_timeout(self.config.store_timeout);
        let (enabled, subscribers) = deadline.run("reading webhooks", reads).await?;
        let Some(enabled) = enabled else {
            log::warning("`operator_application` names no application: nobody gets its events");
            return Ok(true);
        };
        let now = Timestamp::now();
        let data = OperationalData {
            application_id: &about.application,
            webhook_id: about.webhook,
            happened,
        };
        let body = delivery::body(kind.as_str(), now, &data)?;
        let plan = Plan::new(self, subscribers, enabled, now);
        let event = NewEvent {
            id: EventId::generate(now),
            application_id: operator.clone(),
            event_type,
            occurred_at: now,
            created_at: now,
            deliver_before: None,
            idempotency: Some(PublishKey {
                key: format!("{}/{}/{occurrence}", kind.as_str(), about.webhook),
                request_hash: base16ct::lower::encode_string(&Sha256::digest(&body)),
            }),
            body,
            settle_at: fan_out::settle_at(now),
            deliveries: plan.deliveries.clone(),
        };
        match self.database.publish(&event).await {
            Ok(Published::New) => {
                plan.deliver(&event);
                Ok(true)
            }
            Ok(Published::Earlier { .. }) => Ok(false),
            Err(error) => {
                plan.give_back(&event);
                Err(error)
            }
        }
    }
}
