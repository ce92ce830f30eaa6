//! `cargo xtask listen`: a receiver on this machine that prints each delivery as it comes.
//!
//! It registers a webhook for itself, and deletes it when it ends.

mod receiver;
mod registration;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use application_webhooks::model::ids::{ApplicationId, MerchantId};
use application_webhooks::store::keys;
use clap::builder::NonEmptyStringValueParser;
use hyper::StatusCode;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::keys::Keys;
use crate::listen::receiver::{Answer, Receiver};
use crate::listen::registration::Service;
use crate::token::{self, Issuer};
use crate::up::demo;
use crate::{project, store};

/// Where `up` serves.
pub const DEFAULT_URL: &str = "http://127.0.0.1:3000";

/// How long the webhook's token is valid: nobody listens for longer.
const TOKEN_VALID: Duration = Duration::from_secs(7 * 24 * 60 * 60);

#[derive(clap::Args)]
pub struct Args {
    /// Where the service answers
    #[arg(long, value_name = "URL", default_value = DEFAULT_URL)]
    url: String,
    /// The application whose events are received
    #[arg(long, value_name = "ID", default_value = demo::APPLICATION, value_parser = application)]
    application: ApplicationId,
    /// The merchant that owns it [default: as the store of the state directory says]
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    merchant: Option<String>,
    /// Where to receive, on 127.0.0.1; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    port: u16,
    /// What to answer to a delivery that verifies; to others it is 401
    #[arg(
        long, value_name = "STATUS", default_value_t = 200,
        value_parser = clap::value_parser!(u16).range(200..=599)
    )]
    status: u16,
    /// How long to wait before each answer: 5s, 20s, 1m
    #[arg(long, value_name = "DURATION", value_parser = token::duration)]
    delay: Option<Duration>,
    /// Where `up` keeps its data and the development keys [default: .spin]
    #[arg(long, value_name = "DIRECTORY")]
    state_dir: Option<PathBuf>,
}

fn application(text: &str) -> Result<ApplicationId, &'static str> {
    ApplicationId::parse(text).ok_or("is no id of an application")
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let state_dir = project::state_dir(args.state_dir.as_deref())?;
    let keys = Keys::existing(&state_dir)?;
    let merchant = args.merchant.clone();
    let merchant = merchant.unwrap_or_else(|| owner(&state_dir, &args.application));
    let service = Service {
        base: args.url.trim_end_matches('/').to_owned(),
        application: args.application.clone(),
        token: Issuer::from_environment().token(&keys, &merchant, TOKEN_VALID)?,
        merchant,
        state_dir,
    };
    let answer = Answer {
        status: StatusCode::from_u16(args.status)?,
        delay: args.delay.unwrap_or_default(),
    };
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(listen(&service, args.port, answer))
}

/// The application's owner, by the store of a state directory. Where the store is elsewhere, it is the
/// demo's.
fn owner(state_dir: &Path, application: &ApplicationId) -> String {
    let document = store::get(state_dir, &keys::application(application));
    let owner = document.ok().flatten().and_then(|it| demo::owner(&it));
    let owner = owner.as_ref().map_or(demo::MERCHANT, MerchantId::as_str);
    owner.to_owned()
}

/// Receives until a signal comes.
async fn listen(service: &Service, port: u16, answer: Answer) -> Result<ExitCode> {
    let mut interrupts = signal(SignalKind::interrupt())?;
    let mut terminations = signal(SignalKind::terminate())?;
    let mut hangups = signal(SignalKind::hangup())?;

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let listener = listener.await.with_context(|| {
        format!("127.0.0.1:{port} cannot be listened on: choose another with --port, or none")
    })?;
    let endpoint = format!("http://{}/", listener.local_addr()?);
    // What comes before the secret is known waits to be accepted.
    let webhook = service.register(&endpoint).await?;
    let (lines, mut received) = mpsc::unbounded_channel();
    let receiver = Receiver::new(&webhook.secret, answer, lines)?;
    tokio::spawn(receiver.serve(listener));
    println!(
        "Listening on {endpoint} for the events of {}, as webhook {}. Ctrl-C deletes it.",
        service.application, webhook.id
    );
    loop {
        tokio::select! {
            Some(line) = received.recv() => println!("{line}"),
            _ = interrupts.recv() => break,
            _ = terminations.recv() => break,
            _ = hangups.recv() => break,
        }
    }
    service.delete(&webhook.id).await?;
    println!("The webhook is deleted.");
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_is_who_the_store_says_or_the_demos() {
        let documents = [("application/shop", r#"{"merchantId":"m-1"}"#)];
        let state_dir = store::tests::filled("listen-owner", &documents);
        for (id, expected) in [("shop", "m-1"), ("demo", demo::MERCHANT)] {
            let application = ApplicationId::parse(id).expect("an id");
            assert_eq!(owner(&state_dir, &application), expected);
        }
        let none = crate::keys::tests::scratch("listen-no-store");
        let application = ApplicationId::parse("shop").expect("an id");
        assert_eq!(owner(&none, &application), demo::MERCHANT);
    }
}
