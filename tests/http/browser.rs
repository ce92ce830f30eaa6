//! The reference page in a real browser: Debian's Chromium, without a window.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::support::{report, server, standard};

/// What Playwright drives.
const CHROMIUM: &str = "/usr/bin/chromium";

/// Fourteen pages are opened, and six of them read to the end, on a machine that may be busy.
const PATIENCE: Duration = Duration::from_secs(900);

/// The screenshots are left in `target/tmp/screenshots`.
#[tokio::test]
async fn a_merchant_creates_a_webhook_on_the_reference_page_at_a_desk_and_on_a_phone() {
    let _busy = crate::support::busy().await;
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let modules = project.join("target/tools/playwright-core");
    let axe = project.join("target/tools/axe-core/node_modules/axe-core/axe.min.js");
    let installed = modules.join("node_modules/playwright-core").exists() && axe.exists();
    if !(installed && Path::new(CHROMIUM).exists()) {
        report::client_missing(
            "the reference page in Chromium, by npm's playwright-core and axe-core",
        );
        return;
    }
    let screenshots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
    std::fs::create_dir_all(&screenshots).expect("a directory");
    let api = standard();
    let application = api.application();

    let merchant = Command::new("node")
        .arg(project.join("tests/browser/docs.mjs"))
        .arg(&modules)
        .arg(CHROMIUM)
        .args([api.base(), application.id.clone(), application.token()])
        .arg(&screenshots)
        .arg(&axe)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, merchant)
        .await
        .expect("in time")
        .expect("node starts");

    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let created = String::from_utf8_lossy(&output.stdout);
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
