//! Requests to a service that runs.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::{Method, Request, Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// How long a service may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Makes one request, with a bearer token and a JSON body where there are such. The response's body is
/// still to be read.
///
/// # Errors
///
/// When `uri` is not one of http, and when no response comes.
pub async fn send(
    method: Method,
    uri: &Uri,
    token: Option<&str>,
    body: Option<&Value>,
) -> Result<Response<Incoming>> {
    if uri.scheme_str() != Some("http") {
        bail!("--url must start with http://; for https, use curl");
    }
    let host = uri.host().context("--url has no host")?;
    let mut request = Request::builder().method(method).uri(uri);
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    if body.is_some() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
    let request = request.body(Full::new(body))?;

    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let client = Client::builder(TokioExecutor::new()).build(connector);
    match client.request(request).await {
        Ok(response) => Ok(response),
        Err(error) if error.is_connect() => Err(error).context(format!("{host} cannot be reached")),
        Err(error) => Err(error).context(format!("{host} did not answer")),
    }
}
