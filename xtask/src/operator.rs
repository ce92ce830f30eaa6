//! `cargo xtask doctor`, `reindex`, `reencrypt`: clients of the operator's routes, which say there
//! what they come to, line by line.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use http_body_util::BodyExt;
use hyper::{Method, StatusCode, Uri};
use serde_json::Value;

use crate::keys::Keys;
use crate::{client, project};

/// The variable that has the operator's token, as the service's environment does.
pub const TOKEN_VARIABLE: &str = "SPIN_VARIABLE_OPERATOR_TOKEN";

#[derive(clap::Args)]
pub struct DoctorArgs {
    /// Put right what needs no person; copies of what is removed are among the lines
    #[arg(long)]
    fix: bool,
    #[command(flatten)]
    service: Service,
}

#[derive(clap::Args)]
pub struct Service {
    /// Where the service answers; over https, use curl
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:3000")]
    url: String,
    /// Whose development token to use where SPIN_VARIABLE_OPERATOR_TOKEN is not set [default: .spin]
    #[arg(long, value_name = "DIRECTORY")]
    state_dir: Option<PathBuf>,
}

/// Reports what is wrong in the service's store, and with `--fix` has it repaired.
pub fn doctor(args: &DoctorArgs) -> Result<ExitCode> {
    let query = if args.fix { "?fix=true" } else { "" };
    ask(&args.service, &format!("doctor{query}"))
}

/// Has the indexes repaired.
pub fn reindex(service: &Service) -> Result<ExitCode> {
    ask(service, "reindex")
}

/// Has secrets encrypted under the current key.
pub fn reencrypt(service: &Service) -> Result<ExitCode> {
    ask(service, "reencrypt")
}

/// Passes the lines on to standard output. Fails when something is left, or the last line is missing.
fn ask(service: &Service, what: &str) -> Result<ExitCode> {
    let token = match std::env::var(TOKEN_VARIABLE) {
        Ok(token) => token,
        Err(_) => Keys::load(&project::state_dir(service.state_dir.as_deref())?)?
            .with_context(|| format!("{TOKEN_VARIABLE} is not set"))?
            .operator_token()?,
    };
    let uri = format!("{}/operator/v1/{what}", service.url.trim_end_matches('/'));
    let uri: Uri = uri.parse().context("--url is no URL")?;
    let last = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(stream(&uri, &token, &mut std::io::stdout().lock()))?;
    Ok(match is_sound(&last) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Makes the request, writes its lines to `out`, and returns the last one.
///
/// # Errors
///
/// When there is no such service, it refuses the request, or the lines end before the last.
pub async fn stream(uri: &Uri, token: &str, out: &mut impl Write) -> Result<String> {
    let mut response = client::send(Method::POST, uri, Some(token), None).await?;
    match response.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => bail!("{uri}: 404: operator_token is not set there"),
        StatusCode::UNAUTHORIZED => bail!("{uri}: 401: its operator_token is another"),
        other => bail!("{uri}: {other}"),
    }
    let (mut line, mut last) = (Vec::new(), Vec::new());
    while let Some(frame) = response.frame().await {
        let frame = frame.context("the lines broke off: call it again")?;
        let data = frame.into_data().unwrap_or_default();
        out.write_all(&data)?;
        out.flush()?;
        for byte in data {
            match byte {
                b'\n' => last = std::mem::take(&mut line),
                byte => line.push(byte),
            }
        }
    }
    let last = String::from_utf8(last).context("no UTF-8")?;
    match kind(&last).as_deref() {
        Some("done" | "stopped") => Ok(last),
        _ => bail!("the lines broke off: call it again"),
    }
}

fn kind(line: &str) -> Option<String> {
    let line: Value = serde_json::from_str(line).ok()?;
    line["type"].as_str().map(str::to_owned)
}

/// Whether a last line says that nothing is left.
pub fn is_sound(last: &str) -> bool {
    let last: Value = serde_json::from_str(last).unwrap_or_default();
    last["type"] == "done" && last["left"] == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_last_line_with_nothing_left_is_sound() {
        assert!(is_sound(
            r#"{"type":"done","found":2,"repaired":2,"left":0}"#
        ));
        for unsound in [
            "",
            r#"{"type":"done","found":2,"repaired":1,"left":1}"#,
            r#"{"type":"stopped","message":"x"}"#,
            r#"{"type":"progress","left":0}"#,
        ] {
            assert!(!is_sound(unsound), "{unsound}");
        }
    }
}
