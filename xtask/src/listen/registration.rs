//! The webhook of `listen`, at the service.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use application_webhooks::model::ids::ApplicationId;
use http_body_util::BodyExt;
use hyper::{Method, StatusCode, Uri};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::client;

/// How long the service may take for a request.
const PATIENCE: Duration = Duration::from_secs(10);

/// The service, as the owner of one application sees it. Holds a token, so it has no `Debug`.
pub struct Service {
    /// Its address, without a slash at the end.
    pub base: String,
    /// The application.
    pub application: ApplicationId,
    /// Who owns it.
    pub merchant: String,
    /// The owner's token.
    pub token: String,
    /// Where the key is that signed the token.
    pub state_dir: PathBuf,
}

/// A webhook with its secret, so it has no `Debug`.
pub struct Webhook {
    /// Its id.
    pub id: String,
    /// What its deliveries are signed with, as `whsec_…`.
    pub secret: String,
}

impl Service {
    /// Registers a webhook for the endpoint, or takes over the one that a run before left there.
    ///
    /// # Errors
    ///
    /// What to do about it, in one line.
    pub async fn register(&self, endpoint: &str) -> Result<Webhook> {
        let created = match self.left_by_an_earlier_run(endpoint).await? {
            Some(id) => {
                self.request(Method::PATCH, &format!("/{id}"), &json!({"isActive": true}))
                    .await?;
                // Its secret was told that run only: this one gets a new one, and ends the old.
                let rotation = json!({"gracePeriodSeconds": 0});
                self.request(Method::POST, &format!("/{id}/rotate"), &rotation)
                    .await?
            }
            None => {
                self.request(Method::POST, "", &json!({"url": endpoint}))
                    .await?
            }
        };
        let text = |member: &str| created[member].as_str().map(str::to_owned);
        let webhook = text("id").zip(text("signingSecret"));
        let (id, secret) = webhook
            .with_context(|| format!("{} is another service: it returned no webhook", self.base))?;
        Ok(Webhook { id, secret })
    }

    /// Deletes the webhook, unless somebody else has.
    ///
    /// # Errors
    ///
    /// When the service does not say that it is gone.
    pub async fn delete(&self, id: &str) -> Result<()> {
        let (status, _) = self
            .exchange(Method::DELETE, &format!("/{id}"), None)
            .await
            .with_context(|| format!("the webhook {id} stays"))?;
        match status {
            StatusCode::NO_CONTENT | StatusCode::NOT_FOUND => Ok(()),
            other => bail!("{}: {other}: the webhook {id} stays", self.base),
        }
    }

    /// The webhook for exactly this endpoint, where nobody else can be listening now.
    async fn left_by_an_earlier_run(&self, endpoint: &str) -> Result<Option<String>> {
        for page in 1.. {
            let query = format!("?page={page}&limit=100");
            let list = self.exchange(Method::GET, &query, None).await?;
            let (StatusCode::OK, list) = list else {
                bail!("{}", self.explanation(list.0, &list.1));
            };
            let items = list["items"].as_array().map(Vec::as_slice);
            let items = items.unwrap_or_default();
            if let Some(webhook) = items.iter().find(|webhook| webhook["url"] == endpoint) {
                return Ok(webhook["id"].as_str().map(str::to_owned));
            }
            if list["totalPages"].as_u64().unwrap_or_default() <= page {
                break;
            }
        }
        Ok(None)
    }

    /// The response to a change that must succeed.
    async fn request(&self, method: Method, path: &str, body: &Value) -> Result<Value> {
        let (status, response) = self.exchange(method, path, Some(body)).await?;
        if !status.is_success() {
            bail!("{}", self.explanation(status, &response));
        }
        Ok(response)
    }

    /// Makes a request to `path` below the application's webhooks.
    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value)> {
        let (base, application) = (&self.base, &self.application);
        let uri = format!("{base}/api/v1/applications/{application}/webhooks{path}");
        let uri: Uri = uri.parse().context("--url is no URL")?;
        let exchange = async {
            let response = client::send(method, &uri, Some(&self.token), body).await?;
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            anyhow::Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
        };
        let exchanged = timeout(PATIENCE, exchange).await;
        let exchanged = exchanged
            .with_context(|| format!("{base} did not answer within {} s", PATIENCE.as_secs()))?;
        exchanged.map_err(|error| {
            let http = error.downcast_ref::<hyper_util::client::legacy::Error>();
            match http.is_some_and(hyper_util::client::legacy::Error::is_connect) {
                true => anyhow!(
                    "no service at {base}: start it with `cargo xtask up`, or name its address with \
                     --url"
                ),
                false => error,
            }
        })
    }

    /// What a refusal means here, and what to do.
    fn explanation(&self, status: StatusCode, body: &Value) -> String {
        let Self {
            base,
            application,
            merchant,
            state_dir,
            ..
        } = self;
        let of_url = |detail: &Value| detail["field"] == "url";
        let details = body["details"].as_array().map(Vec::as_slice);
        let details = details.unwrap_or_default();
        match status {
            StatusCode::UNAUTHORIZED => format!(
                "{base} does not know the development key in {} (401): name the directory of its keys \
                 with --state-dir",
                state_dir.display()
            ),
            StatusCode::FORBIDDEN if body["reason"] == "applicationDisabled" => {
                format!("the application {application} is disabled (403): enable it")
            }
            StatusCode::FORBIDDEN => format!(
                "the application {application} is not {merchant}'s (403): name its owner with --merchant"
            ),
            StatusCode::NOT_FOUND => format!(
                "{base} has no application {application} (404): choose one with --application"
            ),
            StatusCode::BAD_REQUEST if details.iter().any(of_url) => format!(
                "{base} accepts no endpoint on this machine (400): start it with `cargo xtask up` on \
                 127.0.0.1, or with SPIN_VARIABLE_ALLOW_INSECURE_URLS=true and \
                 SPIN_VARIABLE_DELIVERY_SCHEME='*'"
            ),
            other => {
                let message = body["message"].as_str().unwrap_or("no webhook was made");
                let details = details
                    .iter()
                    .filter_map(|detail| detail["message"].as_str());
                let said: Vec<&str> = std::iter::once(message).chain(details).collect();
                format!("{base}: {} ({})", said.join("; "), other.as_u16())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(base: &str) -> Service {
        Service {
            base: base.to_owned(),
            application: ApplicationId::parse("demo").expect("an id"),
            merchant: "m".to_owned(),
            token: "a.b.c".to_owned(),
            state_dir: PathBuf::from("/state"),
        }
    }

    #[test]
    fn each_refusal_says_what_to_do_in_one_line() {
        for (status, body, expected) in [
            (401, json!({}), "know the development key in /state (401)"),
            (
                403,
                json!({"reason": "applicationDisabled"}),
                "demo is disabled (403)",
            ),
            (
                403,
                json!({}),
                "demo is not m's (403): name its owner with --merchant",
            ),
            (404, json!({}), "has no application demo (404)"),
            (
                400,
                json!({"details": [{"field": "url", "message": "Must start with https://"}]}),
                "start it with `cargo xtask up` on 127.0.0.1",
            ),
            (
                400,
                json!({"message": "Too many", "details": [{"field": "webhooks", "message": "50"}]}),
                "http://s: Too many; 50 (400)",
            ),
            (502, json!("no JSON of ours"), "no webhook was made (502)"),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            let line = service("http://s").explanation(status, &body);
            assert!(line.contains(expected) && !line.contains('\n'), "{line}");
            assert!(!line.contains("a.b.c"), "{line}");
        }
    }

    #[tokio::test]
    async fn a_service_that_is_not_there_is_named_with_how_to_start_it() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let base = format!("http://{}", free.local_addr().expect("an address"));
        drop(free);
        let Err(error) = service(&base).register("http://127.0.0.1:1/").await else {
            panic!("was registered");
        };
        let line = error.to_string();
        assert!(
            line.contains(&base) && line.contains("`cargo xtask up`"),
            "{line}"
        );

        let Err(error) = service("https://s").register("http://127.0.0.1:1/").await else {
            panic!("was registered");
        };
        let line = format!("{error:#}");
        assert!(line.contains("must start with http://"), "{line}");
    }
}
