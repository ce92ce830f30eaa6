//! Events: published, stored, delivered, repeated.

/// Each of these functions of a server is a test on SQLite, and one on PostgreSQL.
macro_rules! on_both_databases {
    ($($name:ident)+) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::support::dispatching()).await;
            })+
        }

        mod postgres {
            $(#[tokio::test]
            async fn $name() {
                let server = crate::support::postgres_server!();
                super::$name(crate::events::dispatching_on(server)).await;
            })+
        }
    };
}

/// As [`on_both_databases`], each on a server that no other test uses: for faults of what nobody's request runs.
macro_rules! on_both_databases_alone {
    ($($name:ident)+) => {
        mod alone {
            on_servers_of_their_own! {
                $($name)+
            }

            $(async fn $name(setup: &dyn Fn() -> crate::support::Setup) {
                super::$name(&setup().start()).await;
            })+
        }
    };
}

/// Each of these functions is a test on SQLite, and one on PostgreSQL, with a setup of servers of its own:
/// each call of it is another database.
macro_rules! on_servers_of_their_own {
    ($($name:ident)+) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::$name(&crate::support::server::dispatching_setup).await;
            })+
        }

        mod postgres {
            $(#[tokio::test]
            async fn $name() {
                let server = crate::support::postgres_server!();
                let setup = crate::support::server::dispatching_setup;
                super::$name(&|| crate::events::on_postgres(setup(), server)).await;
            })+
        }
    };
}

mod attempts;
mod crash_points;
mod crashes;
mod digest;
mod due;
mod erasure;
mod fan_out;
mod faults;
mod health;
mod isolation;
mod log;
mod metrics;
mod operations;
mod proof;
mod publish;
mod recoveries;
mod recovery_crash;
mod resend;
mod restore;
mod retention;
mod scopes;
mod verify;

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::server::dispatching_setup;
use crate::support::{Application, Created, PATIENCE, Postgres, Server, Setup, begin};

/// As [`dispatching`](crate::support::dispatching), with the events in a database of this server.
fn dispatching_on(postgres: &Postgres) -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    begin();
    SERVER.get_or_init(|| on_postgres(dispatching_setup(), postgres).start_shared())
}

/// How long a delivery stays claimed by a process that died.
const LEASE: Duration = Duration::from_secs(60);

/// With the events in a database of this server that no other test uses.
pub fn on_postgres(setup: Setup, postgres: &Postgres) -> Setup {
    let database = postgres.database();
    setup
        .variable("events_database", &database.url)
        .variable("events_database_host", &database.host)
}

/// A webhook of this URL that is subscribed to everything.
async fn webhook(api: &Server, application: &Application, url: &str) -> Created {
    api.create(application).url(url).expect_created().await
}

/// An application with a webhook of this URL.
async fn subscribed(api: &Server, url: &str) -> (Application, Created) {
    let application = api.application();
    let created = webhook(api, &application, url).await;
    (application, created)
}

/// Publishes an event, and returns it as the response shows it.
async fn publish(api: &Server, application: &Application) -> Value {
    api.publish(application).expect(202).await.json()
}

/// The event as its merchant sees it now.
async fn event(api: &Server, application: &Application, id: &Value) -> Value {
    let id = id.as_str().expect("an id");
    let path = format!("{}/{id}", application.events_path());
    api.by(application, "GET", &path).expect(200).await.json()
}

/// The event as soon as none of its deliveries is pending.
async fn completed(api: &Server, application: &Application, id: &Value) -> Value {
    let is_completed = |event: &Value| event["summary"]["pending"] == json!(0);
    event_when(api, application, id, is_completed).await
}

/// The event as soon as it is so.
async fn event_when(
    api: &Server,
    application: &Application,
    id: &Value,
    is_so: impl Fn(&Value) -> bool,
) -> Value {
    let since = Instant::now();
    loop {
        let event = event(api, application, id).await;
        if is_so(&event) {
            return event;
        }
        assert!(since.elapsed() < PATIENCE, "{event:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The event as soon as its only delivery is so. Until then time passes for the server, from one attempt of
/// it to the next.
async fn event_in_time(
    api: &Server,
    application: &Application,
    id: &Value,
    is_so: impl Fn(&Value) -> bool,
) -> Value {
    /// What is due so soon comes by itself.
    const SOON: Duration = Duration::from_secs(3);

    let since = Instant::now();
    loop {
        let event = event(api, application, id).await;
        let delivery = &event["deliveries"][0];
        if is_so(delivery) {
            return event;
        }
        // Without it, an attempt is under way.
        if delivery["nextAttemptAt"].is_string() {
            let due = time(&delivery["nextAttemptAt"]);
            if due > chrono::Utc::now() + api.ahead() + SOON {
                api.sleep_until(due);
            }
        }
        assert!(since.elapsed() < 2 * PATIENCE, "{event:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A moment of a document.
fn time(value: &Value) -> chrono::DateTime<chrono::Utc> {
    let text = value.as_str().unwrap_or_else(|| panic!("no time: {value}"));
    let time = chrono::DateTime::parse_from_rfc3339(text);
    time.unwrap_or_else(|e| panic!("{text}: {e}")).to_utc()
}
