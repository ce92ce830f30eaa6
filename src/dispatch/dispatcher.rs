//! What an instance has to dispatch events with.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use futures::future::LocalBoxFuture;

use super::delivery::{Attempt, Delivery};
use super::endpoints::Endpoints;
use super::state::{Ended, PumpState, RetentionState, WatchState};
use crate::config::Config;
use crate::config::events::EventsConfig;
use crate::events::database::Database;
use crate::fault::Fault;
use crate::model::ids::ApplicationId;
use crate::runtime::Instant;
use crate::store::key_value::Store;
use crate::store::{recipients, spin};

/// How long a claimed delivery is held: longer than an attempt with its reads and its record takes. One
/// whose instance dies is due again then.
pub const LEASE: Duration = Duration::from_secs(60);

/// How long an instance believes that an application is enabled.
const ENABLED_FOR: Duration = Duration::from_secs(1);

/// How many applications it remembers that of.
const MAX_REMEMBERED: usize = 1024;

/// Sends deliveries: over HTTP, and in tests to endpoints that answer as the test decides.
pub trait Sender {
    /// Sends the delivery once.
    fn send<'a>(&'a self, delivery: &'a Delivery) -> LocalBoxFuture<'a, Attempt>;
}

/// What an instance has to dispatch events with, and what it knows of work under way.
pub struct Dispatcher {
    pub(super) config: &'static Config,
    pub(super) events: &'static EventsConfig,
    pub(super) store: Store,
    pub(super) database: Rc<dyn Database>,
    pub(super) sender: Rc<dyn Sender>,
    pub(super) endpoints: RefCell<Endpoints>,
    pub(super) ended: RefCell<Vec<Ended>>,
    pub(super) is_recording: Cell<bool>,
    pub(super) pump: RefCell<PumpState>,
    pub(super) retention: RefCell<RetentionState>,
    pub(super) watch: RefCell<WatchState>,
    enabled: RefCell<BTreeMap<ApplicationId, (Instant, bool)>>,
}

impl Dispatcher {
    /// One that dispatches what is in `database`.
    pub fn new(
        config: &'static Config,
        events: &'static EventsConfig,
        store: Store,
        database: Rc<dyn Database>,
        sender: Rc<dyn Sender>,
    ) -> Self {
        Self {
            config,
            events,
            store,
            database,
            sender,
            endpoints: RefCell::default(),
            ended: RefCell::default(),
            is_recording: Cell::new(false),
            pump: RefCell::default(),
            retention: RefCell::default(),
            watch: RefCell::default(),
            enabled: RefCell::default(),
        }
    }

    /// This instance's.
    ///
    /// # Errors
    ///
    /// As [`Config::load`] and [`EventsConfig::load`].
    pub async fn of_instance() -> Result<Rc<Self>, Fault> {
        thread_local! {
            static DISPATCHER: RefCell<Option<Rc<Dispatcher>>> = const { RefCell::new(None) };
        }

        if let Some(dispatcher) = DISPATCHER.with_borrow(Clone::clone) {
            return Ok(dispatcher);
        }
        let config = Config::load().await?;
        let events = EventsConfig::load().await?;
        // Requests that came at the same moment may each have made one: the first counts.
        let dispatcher = DISPATCHER.with_borrow_mut(|kept| {
            let made = || {
                let database = crate::events::open(&events.database, config.store_timeout);
                let sender = Rc::new(Http(config));
                Rc::new(Self::new(config, events, spin::store(), database, sender))
            };
            kept.get_or_insert_with(made).clone()
        });
        Ok(dispatcher)
    }

    /// The database of events.
    pub fn database(&self) -> &dyn Database {
        &*self.database
    }

    /// What the operator decided about events.
    pub fn events_config(&self) -> &'static EventsConfig {
        self.events
    }

    /// Whether the application's webhooks get deliveries, as of a second ago.
    pub(super) async fn is_enabled(&self, application: &ApplicationId) -> Result<bool, Fault> {
        let known = self.enabled.borrow().get(application).copied();
        if let Some((read_at, enabled)) = known
            && read_at.elapsed() < ENABLED_FOR
        {
            return Ok(enabled);
        }
        let enabled = recipients::is_enabled(&self.store, application).await?;
        let mut remembered = self.enabled.borrow_mut();
        if remembered.len() >= MAX_REMEMBERED {
            remembered.clear();
        }
        remembered.insert(application.clone(), (Instant::now(), enabled));
        Ok(enabled)
    }
}

/// Sends over HTTP.
struct Http(&'static Config);

impl Sender for Http {
    fn send<'a>(&'a self, delivery: &'a Delivery) -> LocalBoxFuture<'a, Attempt> {
        Box::pin(delivery.send(self.0.allow_insecure_urls))
    }
}
