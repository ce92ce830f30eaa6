//! A request as handlers get it, and the context that is left of it once it is parsed.

use std::future::Future;

use futures::future::{join, try_join};
use http::HeaderMap;

use crate::config::Config;
use crate::fault::Fault;
use crate::http::body::Body;
use crate::http::details::Details;
use crate::http::error::Error;
use crate::http::idempotency;
use crate::http::object::Object;
use crate::http::page::PageQuery;
use crate::http::path::Path;
use crate::http::query::Query;
use crate::http::token_problem::TokenProblem;
use crate::model::application::{Application, ApplicationRecord};
use crate::model::caller::{Asks, Caller, Owner};
use crate::model::idempotency_key::IdempotencyKey;
use crate::model::ids::{ApplicationId, MerchantId, WebhookId};
use crate::model::portal::PortalSession;
use crate::model::time::Timestamp;
use crate::store::applications;
use crate::store::compensation;
use crate::store::deadline::Deadline;
use crate::store::key_value::Store;
use crate::store::portal;
use crate::store::rate_limit::{self, Gate, TooManyChanges};

/// A request of whom its token names: of a merchant, or a session of its portal, where nothing else is said.
pub struct Request<Who = Owner> {
    /// Whom its token names.
    pub caller: Who,
    /// This instance's configuration.
    pub config: &'static Config,
    /// Where everything but events is kept.
    pub store: Store,
    /// The id of the request: in its log line, in `x-request-id`, and in the log lines of what it
    /// leaves to be done after the response.
    pub request_id: String,
    /// When it came.
    pub arrived: Timestamp,
    /// Where it was sent to, such as `https://webhooks.example.com`.
    pub origin: Option<String>,
    /// The parameters in its path.
    pub path: Path,
    /// Its query string.
    pub query: Query,
    /// What was wrong with the query string. Handlers add what else is wrong, and return all of it
    /// in one response.
    pub details: Details,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, unread.
    pub body: Body,
}

/// The request of whoever has a valid token: a merchant's, or the platform's own.
pub type CallerRequest = Request<Caller>;

/// What is read of a request notes in its `details` what is wrong, and is `None` then.
impl<Who> Request<Who> {
    /// The path's application.
    pub fn application(&mut self) -> Option<ApplicationId> {
        self.path.application(&mut self.details)
    }

    /// The path's application and webhook.
    pub fn webhook(&mut self) -> Option<(ApplicationId, WebhookId)> {
        let application = self.path.application(&mut self.details);
        let webhook = self.path.webhook(&mut self.details);
        application.zip(webhook)
    }

    /// The header `Idempotency-Key`; `None` also where there is none.
    pub fn idempotency_key(&mut self) -> Option<IdempotencyKey> {
        idempotency::key(&self.headers, &mut self.details)
    }

    /// Which page of a list.
    pub fn page(&mut self) -> Option<PageQuery> {
        PageQuery::read(&self.query, &mut self.details)
    }

    /// The body, as `read` has it.
    ///
    /// # Errors
    ///
    /// Those of `read`.
    pub async fn body(
        &mut self,
        read: impl AsyncFnOnce(&HeaderMap, Body, &mut Details) -> Result<Object, Error>,
    ) -> Result<Object, Error> {
        let body = std::mem::take(&mut self.body);
        read(&self.headers, body, &mut self.details).await
    }

    /// What was `checked`, if nothing was wrong with the request. The deadline of its store calls
    /// begins.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] with every note.
    pub fn begin<T>(self, checked: Option<T>) -> Result<(Context<Who>, T), Error> {
        let checked = self.details.all(checked)?;
        let context = Context {
            caller: self.caller,
            config: self.config,
            store: self.store,
            deadline: Deadline::with_timeout(self.config.store_timeout),
            request_id: self.request_id,
            arrived: self.arrived,
            headers: self.headers,
        };
        Ok((context, checked))
    }
}

/// What all steps of a handler share once its request is parsed.
pub struct Context<Who = Owner> {
    /// Whom the request's token names.
    pub caller: Who,
    /// This instance's configuration.
    pub config: &'static Config,
    /// Where everything but events is kept.
    pub store: Store,
    /// Until when the request's store calls must be done.
    pub deadline: Deadline,
    /// As in [`Request`].
    pub request_id: String,
    /// As in [`Request`].
    pub arrived: Timestamp,
    /// The request's headers, for its conditions.
    pub headers: HeaderMap,
}

impl<Who> Context<Who> {
    /// Runs store calls until the deadline.
    ///
    /// # Errors
    ///
    /// Those of [`Deadline::run`].
    pub async fn run<T, E: From<Fault>>(
        &self,
        what: &str,
        calls: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        self.deadline.run(what, calls).await
    }

    /// [`compensation::compensate`], after this request.
    pub fn compensate(
        &self,
        was_cut_off: bool,
        compensate_once: impl AsyncFnMut() -> Result<(), Fault> + 'static,
    ) {
        let request_id = &self.request_id;
        compensation::compensate(was_cut_off, &self.deadline, request_id, compensate_once);
    }
}

impl Context {
    /// The merchant.
    pub fn merchant(&self) -> &MerchantId {
        self.caller.merchant()
    }

    /// Begins a change, which the merchant may make or not.
    pub fn gate(&self) -> Gate<'_> {
        let merchant = self.caller.merchant();
        rate_limit::begin(&self.store, merchant, self.config, &self.request_id)
    }

    /// Runs the reads of a change, and counts it: what they find comes after whether the merchant may
    /// make one more.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyChanges`], then those of `reads`.
    pub async fn run_counted<T>(
        &self,
        what: &str,
        reads: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let gate = self.gate();
        let found = async { Ok::<_, Fault>(gate.beside(reads).await) };
        let found = self.run(what, found).await?;
        gate.admit()?;
        found
    }
}

/// Whose application it is, asked in one place for all who ask.
impl<Who: Asks> Context<Who> {
    /// The application, if it is the merchant's, or the caller is none.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], [`Error::Forbidden`], or the store's failure.
    pub async fn application(&self, id: &ApplicationId) -> Result<Application, Error> {
        let read = applications::application(&self.store, id);
        let application = found(&self.store, id, self.caller.asking_session(), read).await?;
        self.check_owner(id, &application.created)?;
        Ok(application)
    }

    /// Lets through whose application it is, disabled or not: its settings are not read.
    ///
    /// # Errors
    ///
    /// As [`Self::application`].
    pub async fn check_application(&self, id: &ApplicationId) -> Result<(), Error> {
        let read = applications::created(&self.store, id);
        let created = found(&self.store, id, self.caller.asking_session(), read).await?;
        self.check_owner(id, &created)
    }

    /// Lets the merchant's own application through, and callers that are none; a session of the portal gets its
    /// own only.
    ///
    /// # Errors
    ///
    /// [`Error::Forbidden`].
    pub fn check_owner(
        &self,
        id: &ApplicationId,
        created: &ApplicationRecord,
    ) -> Result<(), Error> {
        match self.caller.asking_merchant() {
            Some(merchant) => check_owner(id, created, merchant, self.caller.asking_session()),
            None => Ok(()),
        }
    }

    /// What `beside` reads, if the application is the merchant's. Until that is known, nothing that `beside`
    /// finds is shown.
    ///
    /// # Errors
    ///
    /// As [`Self::check_application`].
    pub async fn authorize<T>(
        &self,
        id: &ApplicationId,
        beside: impl Future<Output = T>,
    ) -> Result<T, Error> {
        let beside = async { Ok(beside.await) };
        let ((), beside) = try_join(self.check_application(id), beside).await?;
        Ok(beside)
    }

    /// As [`Self::authorize`], and the application: whether it takes changes, its settings say.
    ///
    /// # Errors
    ///
    /// As [`Self::application`].
    pub async fn authorize_change<T>(
        &self,
        id: &ApplicationId,
        beside: impl Future<Output = T>,
    ) -> Result<(Application, T), Error> {
        let beside = async { Ok(beside.await) };
        try_join(self.application(id), beside).await
    }
}

impl Context<Caller> {
    /// As a merchant's [`Context::run_counted`]; the platform's own changes are not counted.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyChanges`], then those of `reads`.
    pub async fn run_counted<T>(
        &self,
        what: &str,
        reads: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let Some(merchant) = self.caller.merchant() else {
            return self.run(what, reads).await;
        };
        let gate = rate_limit::begin(&self.store, merchant, self.config, &self.request_id);
        let found = async { Ok::<_, Fault>(gate.beside(reads).await) };
        let found = self.run(what, found).await?;
        gate.admit()?;
        found
    }
}

/// What is read of the application; beside it is found out whether the portal's session, where it is one that
/// asks, was ended.
///
/// # Errors
///
/// [`ENDED`], [`Error::NotFound`], or the store's failure.
pub async fn found<T>(
    store: &Store,
    id: &ApplicationId,
    session: Option<&PortalSession>,
    read: impl Future<Output = Result<Option<T>, Fault>>,
) -> Result<T, Error> {
    let Some(session) = session else {
        return read.await?.ok_or(Error::NotFound);
    };
    let generation = portal::generation(store, &session.application_id);
    let (read, generation) = join(read, generation).await;
    if generation? != session.generation {
        return Err(ENDED);
    }
    match read? {
        Some(found) => Ok(found),
        // With its application a session ends too.
        None if *id == session.application_id => Err(ENDED),
        None => Err(Error::NotFound),
    }
}

/// Somebody ended the portal's session.
pub const ENDED: Error = Error::InvalidToken(TokenProblem::Refused("its session was ended"));

/// Lets the merchant's own application through; a session of the portal gets its own only.
///
/// # Errors
///
/// [`Error::Forbidden`].
pub fn check_owner(
    id: &ApplicationId,
    created: &ApplicationRecord,
    merchant: &MerchantId,
    session: Option<&PortalSession>,
) -> Result<(), Error> {
    let is_its_own = session.is_none_or(|session| session.application_id == *id);
    match created.merchant_id == *merchant && is_its_own {
        true => Ok(()),
        false => Err(Error::Forbidden),
    }
}

impl From<TooManyChanges> for Error {
    fn from(TooManyChanges { retry_after }: TooManyChanges) -> Self {
        Self::TooManyChanges { retry_after }
    }
}

/// Lets changes to an enabled application through.
///
/// # Errors
///
/// [`Error::Disabled`].
pub fn check_enabled(application: &Application) -> Result<(), Error> {
    match application.is_enabled() {
        true => Ok(()),
        false => Err(Error::Disabled),
    }
}
