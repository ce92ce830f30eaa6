//! The webhooks of an application.

use axum::extract::Request;
use axum::response::Response;
use futures::future::try_join;
use http::header::LOCATION;
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::Value;

use super::body::Object;
use super::{Details, Path, RequestId, owned_application};
use crate::auth::Merchant;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::error::{Error, json};
use crate::secret::SigningSecret;
use crate::store::{self, Index, Store, keys};
use crate::webhook::{EndpointUrl, EventType, StoredSecret, Webhook, WebhookId};

/// A webhook as responses show it. `signingSecret` is there once: when it was made.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WebhookBody {
    id: WebhookId,
    url: String,
    is_active: bool,
    key_fingerprint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    signing_secret: Option<String>,
    subscribed_events: Vec<EventType>,
    last_test_at: Option<Timestamp>,
    last_test_status: Option<&'static str>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

/// `POST /api/v1/applications/{applicationId}/webhooks`
pub async fn create(
    Merchant(merchant): Merchant,
    RequestId(request_id): RequestId,
    path: Path,
    request: Request,
) -> Result<Response, Error> {
    let config = Config::load().await?;
    let mut details = Details::default();
    let application = path.application(&mut details);
    let mut body = Object::read(request, &mut details).await?;
    let url = body.required("url", &mut details, |value| url(value, config));
    let events = body.optional("subscribedEvents", &mut details, |value| {
        subscribed_events(value, config)
    });
    body.finish(&mut details);
    details.finish()?;
    let (Some(application), Some(url)) = (application, url) else {
        return Err(Error::Internal("a wrong field was not noted".to_owned()));
    };

    let store = Store::with_timeout(config.store_timeout);
    let (_, mut index) = store
        .in_time(
            "reading",
            try_join(
                owned_application(&application, &merchant),
                Index::read(&application),
            ),
        )
        .await?;
    if index.ids().len() >= config.max_webhooks {
        store.in_time("counting webhooks", index.prune()).await?;
    }
    if index.ids().len() >= config.max_webhooks {
        return Err(Error::invalid(
            "applicationId",
            format!(
                "The application already has the maximum of {} webhooks",
                config.max_webhooks
            ),
        ));
    }

    let id = WebhookId::generate();
    let secret = SigningSecret::generate();
    let webhook = Webhook {
        v: Webhook::VERSION,
        id,
        url: url.as_str().to_owned(),
        is_active: true,
        subscribed_events: events.unwrap_or_else(|| config.event_types.clone()),
        secret: StoredSecret::seal(&config.secrets_key, id, &secret),
        created_at: Timestamp::now(),
    };
    let key = keys::webhook(&application, id);
    // The webhook before the index: an id in the index always had a webhook.
    let written = store
        .in_time("creating a webhook", async {
            store::set_document(&key, &webhook).await?;
            index.add(&[id]).await
        })
        .await;
    if let Err(error) = written {
        store::retract(application, id, store, request_id);
        return Err(error);
    }
    index.keep(id, store, request_id);

    let location = format!("/api/v1/applications/{application}/webhooks/{id}");
    let mut response = json(
        StatusCode::CREATED,
        &WebhookBody {
            id,
            url: webhook.url,
            is_active: webhook.is_active,
            key_fingerprint: webhook.secret.fingerprint,
            signing_secret: Some(secret.reveal()),
            subscribed_events: webhook.subscribed_events,
            last_test_at: None,
            last_test_status: None,
            created_at: webhook.created_at,
            updated_at: webhook.created_at,
        },
    );
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

fn url(value: Value, config: &Config) -> Result<EndpointUrl, String> {
    let Value::String(text) = value else {
        return Err("Must be a string".to_owned());
    };
    EndpointUrl::parse(&text, config.allow_insecure_urls).map_err(|error| error.to_string())
}

fn subscribed_events(value: Value, config: &Config) -> Result<Vec<EventType>, &'static str> {
    const NOT_STRINGS: &str = "Must be an array of strings";

    let Value::Array(names) = value else {
        return Err(NOT_STRINGS);
    };
    if names.is_empty() {
        return Err("Must not be empty");
    }
    if !names.iter().all(Value::is_string) {
        return Err(NOT_STRINGS);
    }
    let mut events: Vec<EventType> = Vec::with_capacity(config.event_types.len());
    for name in names.iter().filter_map(Value::as_str) {
        let mut known = config.event_types.iter();
        let event = known
            .find(|event| event.as_str() == name)
            .ok_or("Unknown event type")?;
        if events.contains(event) {
            return Err("Must not contain duplicates");
        }
        events.push(event.clone());
    }
    Ok(events)
}
