//! `cargo xtask portal`: a link to the portal of an application, from a service that runs.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use http_body_util::BodyExt;
use hyper::{Method, StatusCode, Uri};
use serde_json::{Value, json};

use crate::keys::Keys;
use crate::token::{self, Issuer};
use crate::up::demo;
use crate::{client, project};

/// What a session may do, where nothing else is asked for: everything, since it is for development.
pub const CAPABILITIES: &str = "view,viewPayloads,resend,manageWebhooks,rotateSecrets";

/// How long the token is valid that asks for the link.
const TOKEN_VALID: Duration = Duration::from_secs(600);

#[derive(clap::Args)]
pub struct Args {
    /// The application
    #[arg(long, value_name = "ID", default_value = demo::APPLICATION)]
    application: String,
    /// What the session may do, names with commas between them
    #[arg(long, value_name = "NAMES", default_value = CAPABILITIES, value_delimiter = ',')]
    capabilities: Vec<String>,
    /// Where the service answers; over https, use curl
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:3000")]
    url: String,
    /// Where `up` keeps its data and the development keys [default: .spin]
    #[arg(long, value_name = "DIRECTORY")]
    state_dir: Option<PathBuf>,
}

/// Prints a link, and nothing else.
pub fn run(args: &Args) -> Result<()> {
    let state_dir = project::state_dir(args.state_dir.as_deref())?;
    let keys = Keys::existing(&state_dir)?;
    let token = token(&keys)?;
    let capabilities: Vec<&str> = args.capabilities.iter().map(String::as_str).collect();
    let link = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(link(&args.url, &token, &args.application, &capabilities))?;
    println!("{link}");
    Ok(())
}

/// A token that may open portals.
pub fn token(keys: &Keys) -> Result<String> {
    Issuer::from_environment().scoped_token(keys, &token::portal_scope(), TOKEN_VALID)
}

/// A link to the portal of an application, from the service at `base`: good for a minute, and once.
///
/// # Errors
///
/// When the service cannot be reached or refuses.
pub async fn link(
    base: &str,
    token: &str,
    application: &str,
    capabilities: &[&str],
) -> Result<String> {
    let base = base.trim_end_matches('/');
    let uri = format!("{base}/api/v1/applications/{application}/portal-sessions");
    let uri: Uri = uri.parse().context("--url is no URL")?;
    let body = json!({ "capabilities": capabilities });
    let response = client::send(Method::POST, &uri, Some(token), Some(&body)).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    match (status, body["url"].as_str()) {
        (StatusCode::CREATED, Some(url)) => Ok(url.to_owned()),
        (StatusCode::UNAUTHORIZED, _) => bail!("{base}: 401: it has other keys than these"),
        (StatusCode::NOT_FOUND, _) => bail!("{base}: 404: there is no application {application}"),
        _ => bail!("{base}: {status}: {}", details(&body)),
    }
}

/// What an error's body says is wrong.
fn details(body: &Value) -> String {
    let details = body["details"].as_array().into_iter().flatten();
    let details: Vec<_> = details.filter_map(|it| it["message"].as_str()).collect();
    match details[..] {
        [] => body["message"].as_str().unwrap_or_default().to_owned(),
        _ => details.join("; "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_in_one_line() {
        let wrong = json!({"message": "m", "details": [{"field": "a", "message": "Must"}]});
        assert_eq!(details(&wrong), "Must");
        assert_eq!(details(&json!({"message": "m"})), "m");
    }
}
