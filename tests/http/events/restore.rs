//! The restore drill of docs/operations.md: a backup while the service runs, a loss of store and database,
//! and what is there again afterwards.

use std::path::Path;

use rusqlite::Connection;
use serde_json::{Value, json};

use super::{completed, event, event_in_time};
use crate::support::receiver::answer;
use crate::support::server::{OPERATOR_TOKEN, dispatching_setup};
use crate::support::{
    Application, PATIENCE, Receiver, Server, local_runtime_only, postgres_server, unique,
};

/// A row of the drill's table in the document, by its first cell.
fn documented(what: &str) -> &'static str {
    let document = include_str!("../../../docs/operations.md");
    let row = document
        .lines()
        .find(|line| line.starts_with(&format!("| {what} |")));
    row.unwrap_or_else(|| panic!("no row {what}"))
}

/// Copies the store while it is in use, by the statement that the document has.
fn back_up(state_dir: &Path, copy: &Path) {
    let document = include_str!("../../../docs/operations.md");
    let (_, statement) = document
        .split_once("sqlite3 .spin/sqlite_key_value.db \"")
        .expect("a command");
    let (statement, _) = statement.split_once('"').expect("its end");
    let statement = statement.replace("copy.db", copy.to_str().expect("UTF-8"));
    let store = Connection::open(state_dir.join("sqlite_key_value.db")).expect("the store");
    store.busy_timeout(PATIENCE).expect("a time limit");
    store.execute_batch(&statement).expect("a copy");
    let copy = Connection::open(copy).expect("the copy");
    let check = copy.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0));
    assert_eq!(check.expect("a check"), "ok");
}

async fn publish(api: &Server, application: &Application, key: &str) -> Value {
    let request = api.publish(application).header("idempotency-key", key);
    request.expect(202).await.json()
}

/// How often an endpoint received an event.
fn times(receiver: &Receiver, id: &Value) -> usize {
    let received = receiver.received();
    let ids = received.iter().map(|sent| sent.header("webhook-id"));
    ids.filter(|received| id == received).count()
}

#[tokio::test]
async fn after_a_restore_of_store_and_database_all_of_the_backup_is_there() {
    local_runtime_only!();
    let postgres = postgres_server!();
    let (database, restored) = (postgres.database(), postgres.database());
    let directory = tempfile::tempdir().expect("a directory");
    let copy = directory.path().join("copy.db");
    let setup = dispatching_setup();
    let state_dir = setup.state_dir().to_owned();
    let api = setup
        // Later than the backup takes, however slow the machine is: tests pass the time.
        .variable("retry_schedule", "0,3600,3600")
        .variable("operator_token", OPERATOR_TOKEN)
        .variable("events_database", &database.url)
        .variable("events_database_host", &database.host)
        .start();
    // The tests' applications are written into the store, where no list has them yet.
    let reindex = api
        .request("POST", "/operator/v1/reindex")
        .token(OPERATOR_TOKEN);
    let reindexed = reindex.send_within(5 * PATIENCE).await.expect("an answer");
    assert!(reindexed.text.contains(r#""left":0"#), "{}", reindexed.text);
    let takes = Receiver::answering("200 OK", b"");
    let application = api.application();
    let kept = api
        .create(&application)
        .url(&takes.url())
        .expect_created()
        .await;
    let deleted_later = api
        .create(&application)
        .url(&takes.url())
        .expect_created()
        .await;
    let kept_path = application.webhook_path(&kept.webhook.id);
    let deleted_path = application.webhook_path(&deleted_later.webhook.id);
    let before = publish(&api, &application, &unique("key")).await;
    completed(&api, &application, &before["id"]).await;

    // One delivery is pending in the backup, and made between the backup and the loss.
    let other = api.application();
    let once = Receiver::answering_in_turn(&[&answer("500 No", b""), &answer("200 OK", b"")]);
    api.create(&other).url(&once.url()).expect_created().await;
    let pending = publish(&api, &other, &unique("key")).await;
    let failed = |event: &Value| event["deliveries"][0]["attemptCount"] == 1;
    super::event_when(&api, &other, &pending["id"], failed).await;

    // The backup: first the database, then the store.
    let dump = postgres.dump(&database);
    back_up(&state_dir, &copy);

    // What happens after it is what a loss takes.
    let succeeded = |delivery: &Value| delivery["status"] == "succeeded";
    event_in_time(&api, &other, &pending["id"], succeeded).await;
    assert_eq!(times(&once, &pending["id"]), 2);
    let key = unique("key");
    let lost = publish(&api, &application, &key).await;
    completed(&api, &application, &lost["id"]).await;
    let created_later = api
        .create(&application)
        .url(&takes.url())
        .expect_created()
        .await;
    api.by(&application, "DELETE", &deleted_path)
        .expect(204)
        .await;
    let rotate = format!("{kept_path}/rotate");
    let now = json!({"gracePeriodSeconds": 0});
    api.by(&application, "POST", &rotate)
        .json(&now)
        .expect(200)
        .await;

    // The loss, and the restore.
    let setup = api.kill();
    for file in ["sqlite_key_value.db", "sqlite_key_value.db-journal"] {
        match std::fs::remove_file(state_dir.join(file)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            removed => removed.expect("removed"),
        }
    }
    postgres.restore(&restored, &dump);
    std::fs::copy(&copy, state_dir.join("sqlite_key_value.db")).expect("a copy");
    let api = setup
        .variable("events_database", &restored.url)
        .variable("events_database_host", &restored.host)
        .start();

    // Store and database are sound.
    let doctor = api
        .request("POST", "/operator/v1/doctor")
        .token(OPERATOR_TOKEN);
    let doctor = doctor.send_within(5 * PATIENCE).await.expect("an answer");
    let last: Value =
        serde_json::from_str(doctor.text.lines().last().expect("a line")).expect("JSON");
    assert_eq!(
        last,
        json!({"type": "done", "found": 0, "repaired": 0, "left": 0}),
        "{}",
        doctor.text
    );

    // Each row of the document's table, one after the other.
    documented("an event of before the backup");
    let read = event(&api, &application, &before["id"]).await;
    assert_eq!(read["summary"]["succeeded"], 2, "{read}");
    assert_eq!(times(&takes, &before["id"]), 2);

    documented("a delivery that was pending in the backup");
    event_in_time(&api, &other, &pending["id"], succeeded).await;
    // Failed, made, and made again, by the same id.
    assert_eq!(times(&once, &pending["id"]), 3);

    documented("an event that was published after the backup");
    let path = application.events_path();
    let path = format!("{path}/{}", lost["id"].as_str().expect("an id"));
    api.by(&application, "GET", &path).expect(404).await;
    let repeated = publish(&api, &application, &key).await;
    let repeated = completed(&api, &application, &repeated["id"]).await;
    assert_eq!(repeated["summary"]["succeeded"], 2, "{repeated}");

    documented("a webhook that was created after the backup");
    let path = application.webhook_path(&created_later.webhook.id);
    api.by(&application, "GET", &path).expect(404).await;

    documented("a webhook that was deleted after the backup");
    api.by(&application, "GET", &deleted_path).expect(200).await;

    documented("a rotation after the backup");
    let test = api.by(&application, "POST", &format!("{kept_path}/test"));
    assert_eq!(test.expect(200).await.json()["success"], true);
    let received = takes.last();
    let earlier = standardwebhooks::Webhook::new(&kept.webhook.signing_secret).expect("a secret");
    let timestamp = received.header("webhook-timestamp");
    let timestamp = timestamp.parse().expect("seconds");
    let signed = earlier.sign(received.header("webhook-id"), timestamp, &received.body);
    let signed = signed.expect("a signature");
    assert_eq!(received.header("webhook-signature"), signed);
}
