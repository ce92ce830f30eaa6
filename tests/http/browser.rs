//! The service's pages in a real browser: Debian's Chromium, without a window.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::LazyLock;
use std::time::Duration;

use tokio::process::Command;

use crate::support::server::dispatching_setup;
use crate::support::{Server, report, server, standard, tokens};

/// What Playwright drives.
const CHROMIUM: &str = "/usr/bin/chromium";

/// Fourteen pages are opened, and six of them read to the end, on a machine that may be busy.
const PATIENCE: Duration = Duration::from_secs(900);

/// The screenshots are left in `target/tmp/screenshots`.
#[tokio::test]
async fn a_merchant_creates_a_webhook_on_the_reference_page_at_a_desk_and_on_a_phone() {
    let _busy = crate::support::busy().await;
    let Some(browser) = Browser::find("the reference page") else {
        return;
    };
    let api = standard();
    let application = api.application();

    let mut merchant = Command::new("node");
    merchant
        .arg(browser.project.join("tests/browser/docs.mjs"))
        .arg(&browser.modules)
        .arg(CHROMIUM)
        .args([api.base(), application.id.clone(), application.token()])
        .arg(&browser.screenshots)
        .arg(&browser.axe);
    let created = printed(merchant).await;
    let created: Vec<&str> = created.lines().collect();
    assert_eq!(created.len(), 2, "{created:?}");
    for id in created {
        let read = api.by(&application, "GET", &application.webhook_path(id));
        read.expect(200).await;
    }
    if !server::on_spin() {
        assert_eq!(api.store().webhooks(&application).len(), 2);
    }
}

/// What drives a browser, and where it leaves its pictures.
struct Browser {
    project: &'static Path,
    modules: PathBuf,
    axe: PathBuf,
    screenshots: PathBuf,
}

impl Browser {
    /// What `cargo xtask test` has installed. Reports what is not run where it is missing.
    fn find(what: &str) -> Option<Self> {
        let project = Path::new(env!("CARGO_MANIFEST_DIR"));
        let modules = project.join("target/tools/playwright-core");
        let axe = project.join("target/tools/axe-core/node_modules/axe-core/axe.min.js");
        let installed = modules.join("node_modules/playwright-core").exists() && axe.exists();
        if !(installed && Path::new(CHROMIUM).exists()) {
            report::client_missing(&format!(
                "{what} in Chromium, by npm's playwright-core and axe-core"
            ));
            return None;
        }
        let screenshots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
        std::fs::create_dir_all(&screenshots).expect("a directory");
        Some(Self {
            project,
            modules,
            axe,
            screenshots,
        })
    }
}

/// What a script prints that drives a browser to the end.
async fn printed(mut script: Command) -> String {
    let output = script.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(PATIENCE, output)
        .await
        .expect("in time")
        .expect("node starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The service with its portal: a delivery that fails is attempted again in an hour, so that there is an attempt to
/// come, and its countdown.
fn with_portal() -> &'static Server {
    static SERVER: LazyLock<Server> = LazyLock::new(|| {
        dispatching_setup()
            .variable("retry_schedule", "0,3600,7200")
            .variable("portal_name", "Kadosei")
            .variable("portal_accent", "#0e6b5c")
            // tests/browser/portal/screens.mjs has it too.
            .variable(
                "portal_refresh_url",
                "https://dashboard.example.com/webhooks",
            )
            .start_shared()
    });
    &SERVER
}

/// Has a browser do a part of `tests/browser/portal.mjs`. What it prints is printed.
async fn in_the_portal(part: &str) {
    let _busy = crate::support::busy().await;
    let Some(browser) = Browser::find("the portal") else {
        return;
    };
    let api = with_portal();
    let application = api.application();
    let mut merchant = Command::new("node");
    merchant
        .arg(browser.project.join("tests/browser/portal.mjs"))
        .arg(part)
        .arg(&browser.modules)
        .arg(CHROMIUM)
        .args([api.base(), application.id.clone()])
        .args([application.token(), tokens::publisher()])
        .arg(&browser.screenshots)
        .arg(&browser.axe);
    print!("{}", printed(merchant).await);
}

#[tokio::test]
async fn a_merchants_day_in_the_portal_at_a_desk() {
    in_the_portal("desktop").await;
}

#[tokio::test]
async fn a_merchants_day_in_the_portal_on_a_phone() {
    in_the_portal("phone").await;
}

#[tokio::test]
async fn a_merchants_day_in_the_portal_by_the_keyboard_alone() {
    in_the_portal("keyboard").await;
}

#[tokio::test]
async fn every_screen_of_the_portal_fits_is_accessible_and_keeps_to_its_policy() {
    in_the_portal("screens").await;
}
