//! Sessions of the portal: somebody who may opens one, the page exchanges its code for a token, and all of an
//! application's are ended at once.
//!
//! The code is in the fragment of a link, which no browser sends anywhere, and in the body of the exchange:
//! so it is in no request line and in no log. It is good for a minute and for one exchange: a row of the
//! database decides. What ends sessions is in the store, beside the application that every request reads.

use futures::future::try_join;
use http::header::LOCATION;
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::Value;

use super::request::{CallerRequest, Context, Request};
use crate::dispatch::dispatcher::Dispatcher;
use crate::events::claim::ClaimToken;
use crate::events::database::{NewCode, WaitingSession};
use crate::fault::Fault;
use crate::http::details::Details;
use crate::http::error::Error;
use crate::http::object::Object;
use crate::http::parameters::ApplicationPath;
use crate::http::response::{self, Response};
use crate::model::application::ApplicationName;
use crate::model::caller::Caller;
use crate::model::ids::ApplicationId;
use crate::model::portal::{Capabilities, Capability, PortalCode, PortalSession, SessionId};
use crate::model::time::Timestamp;
use crate::store::applications;
use crate::store::deadline::Deadline;
use crate::store::portal;

/// For how many seconds a code can be exchanged.
const CODE_SECS: u32 = 60;

/// How many codes an application may have in a minute, whoever asks for them.
const MAX_CODES: u32 = 120;

/// How long a session goes on unless it is asked for a longer or a shorter one, in seconds.
const DEFAULT_SECS: u32 = 3600;

/// How short and how long a session can be, in seconds.
const SECS: std::ops::RangeInclusive<u32> = 300..=43_200;

/// The body of [`create`].
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(description = "What the session may do, and for how long.")]
pub struct SessionRequest {
    /// What it may do: without this member, `view` and `resend`.
    #[schema(
        value_type = Option<BTreeSet<Capability>>, nullable = false, min_items = 1,
        examples(json!(["view", "viewPayloads", "resend", "manageWebhooks"]))
    )]
    capabilities: Option<Capabilities>,
    /// For how many seconds.
    #[schema(
        nullable = false,
        minimum = 300,
        maximum = 43_200,
        default = 3600,
        examples(3600)
    )]
    expires_in_seconds: Option<u32>,
}

impl SessionRequest {
    /// Reads a body, noting what is wrong with it.
    fn read(body: &mut Object, details: &mut Details) -> Self {
        Self {
            capabilities: body.optional("capabilities", details, capabilities),
            expires_in_seconds: body.optional("expiresInSeconds", details, |value| {
                seconds(&value).ok_or("Must be a whole number from 300 to 43200")
            }),
        }
    }
}

fn capabilities(value: Value) -> Result<Capabilities, &'static str> {
    const WRONG: &str = "Must be one or more of view, viewPayloads, resend, manageWebhooks and \
                         rotateSecrets, each once";

    let Value::Array(names) = value else {
        return Err(WRONG);
    };
    let mut capabilities = Capabilities::default();
    for name in &names {
        let capability = name.as_str().and_then(Capability::parse);
        let new = capability.filter(|capability| !capabilities.has(*capability));
        capabilities = capabilities.with(new.ok_or(WRONG)?);
    }
    match capabilities.is_empty() {
        true => Err(WRONG),
        false => Ok(capabilities),
    }
}

fn seconds(value: &Value) -> Option<u32> {
    // To JSON Schema 600.0 is an integer too.
    let seconds = value.as_f64().filter(|seconds| seconds.fract() == 0.0)?;
    let is_possible = (f64::from(*SECS.start())..=f64::from(*SECS.end())).contains(&seconds);
    is_possible.then_some(seconds as u32)
}

/// A session that waits for its page.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PortalSession)]
pub struct SessionResponse {
    /// The link to the portal, with a code in its fragment: whoever opens it within a minute, the first
    /// one, has the session. Send the merchant there, and keep it nowhere.
    #[schema(
        format = Uri,
        examples("https://webhooks.example.com/portal#code=x8hS2Vb0J1yq4mXK7eUo3nR5tWc6aZd9fGiLpQrTsvM")
    )]
    url: String,
    /// When the session ends.
    #[schema(inline, examples("2026-04-20T13:34:56.000Z"))]
    expires_at: Timestamp,
    /// What it may do.
    #[schema(value_type = Vec<Capability>, examples(json!(["view", "resend"])))]
    capabilities: Capabilities,
}

/// The body of [`exchange`].
#[derive(Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(description = "A code to exchange.")]
pub struct ExchangeRequest {
    /// The code that the portal's link has in its fragment.
    #[schema(
        min_length = 1,
        max_length = 128,
        examples("x8hS2Vb0J1yq4mXK7eUo3nR5tWc6aZd9fGiLpQrTsvM")
    )]
    code: String,
}

/// A session that is begun.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PortalToken)]
pub struct ExchangeResponse<'a> {
    /// The bearer token of the session's requests: for the memory of the page, and nowhere else.
    #[schema(examples("portal_AZ3hPq0…"))]
    token: &'a str,
    /// The application that it is good for.
    #[schema(inline)]
    application_id: &'a ApplicationId,
    /// The application's name, if it has one.
    #[schema(required, inline)]
    application_name: Option<&'a ApplicationName>,
    /// What it may do.
    #[schema(value_type = Vec<Capability>, examples(json!(["view", "resend"])))]
    capabilities: Capabilities,
    /// When it ends.
    #[schema(inline, examples("2026-04-20T13:34:56.000Z"))]
    expires_at: Timestamp,
}

impl CallerRequest {
    /// Lets merchants through, and tokens with the platform's portal scope.
    ///
    /// # Errors
    ///
    /// [`Error::Forbidden`].
    fn check_opens_portals(&self) -> Result<(), Error> {
        match self.caller.merchant().is_some() || self.caller.opens_portals() {
            true => Ok(()),
            false => Err(Error::Forbidden),
        }
    }
}

/// Open portal
///
/// Makes a link to the portal of one application, for its merchant: a page on which webhooks are seen and
/// steered. The link is good for a minute and for whoever opens it first. The session that it begins has
/// these capabilities and no others, reaches this application and no other, and ends by itself. The
/// application must belong to the authenticated merchant; tokens with the platform's portal scope open
/// anyone's.
#[utoipa::path(
    post, path = "/api/v1/applications/{applicationId}/portal-sessions",
    operation_id = "createPortalSession", tag = "Portal", params(ApplicationPath),
    request_body(content = Option<SessionRequest>, content_type = "application/json"),
    responses((status = 201, description = "The link.", body = SessionResponse,
        headers(("Location")))),
)]
pub async fn create(mut request: CallerRequest) -> Result<Response, Error> {
    request.check_opens_portals()?;
    let application = request.application();
    let mut body = request.body(Object::read_optional).await?;
    let asked = SessionRequest::read(&mut body, &mut request.details);
    body.finish(&mut request.details);
    let origin = request.origin.take();
    let (context, application) = request.begin(application)?;

    let location = format!("/api/v1/applications/{application}/portal-sessions");
    let reads = try_join(context.check_application(&application), async {
        Ok(portal::generation(&context.store, &application).await?)
    });
    let ((), generation) = context.run_counted("reading an application", reads).await?;
    let dispatcher = Dispatcher::of_instance().await?;
    let base = dispatcher.events_config().portal_url.clone().or(origin);
    let base = base.ok_or_else(|| {
        Fault::Internal("variable `portal_url` is needed: a request says no host".to_owned())
    })?;
    let (now, code) = (Timestamp::now(), PortalCode::generate());
    let capabilities = asked.capabilities.unwrap_or(Capabilities::DEFAULT);
    let expires_at = now.plus_secs(asked.expires_in_seconds.unwrap_or(DEFAULT_SECS));
    let new = NewCode {
        hash: code.hash(),
        session: WaitingSession {
            application_id: application,
            session_id: SessionId::generate(),
            capabilities,
            generation,
            expires_at,
        },
        created_at: now,
        expires_at: now.plus_secs(CODE_SECS),
        counted_since: Timestamp::from_millis(now.as_millis() - i64::from(CODE_SECS) * 1000),
        limit: MAX_CODES,
    };
    if !dispatcher.database().keep_code(&new).await? {
        return Err(Error::TooManyChanges {
            retry_after: CODE_SECS,
        });
    }
    let body = SessionResponse {
        url: format!("{base}/portal#code={}", code.as_str()),
        expires_at,
        capabilities,
    };
    let mut response = response::json(StatusCode::CREATED, &body)?;
    // Where it is ended. The link has its code, and stays out of headers.
    let location = HeaderValue::try_from(location);
    let location =
        location.map_err(|_| Fault::Internal("a session's path is no header".to_owned()))?;
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

/// End portal sessions
///
/// Ends all sessions of the application's portal at once, those of links that nobody has opened yet too:
/// when the response comes, their tokens are refused. The application must belong to the authenticated
/// merchant; tokens with the platform's portal scope end anyone's.
#[utoipa::path(
    delete, path = "/api/v1/applications/{applicationId}/portal-sessions",
    operation_id = "endPortalSessions", tag = "Portal", params(ApplicationPath),
    responses((status = 204, description = "They have ended.")),
)]
pub async fn end(mut request: CallerRequest) -> Result<Response, Error> {
    request.check_opens_portals()?;
    let application = request.application();
    let (context, application) = request.begin(application)?;
    let owned = context.check_application(&application);
    context.run_counted("reading an application", owned).await?;
    match end_all(&context, &application).await? {
        true => Ok(response::empty(StatusCode::NO_CONTENT)),
        false => Err(Error::NotFound),
    }
}

/// As [`portal::end_sessions`]; what a write that was cut off leaves of an application that is gone is
/// removed.
async fn end_all(context: &Context<Caller>, application: &ApplicationId) -> Result<bool, Fault> {
    let end = portal::end_sessions(&context.store, application);
    let ended = context.run("ending sessions of the portal", end).await;
    if let Err(fault) = &ended {
        let (store, application) = (context.store.clone(), application.clone());
        context.compensate(fault.is_timeout(), async move || {
            portal::remove_orphan_of(&store, &application).await
        });
    }
    ended
}

/// Exchange portal code
///
/// Exchanges the code of a portal's link for the token of its session: once, within a minute. The page at
/// `/portal` does so. 410 says that a code is unknown, was exchanged or expired, or that its session has
/// been ended, and not which.
#[utoipa::path(
    post, path = "/api/v1/portal-sessions/exchange", operation_id = "exchangePortalCode",
    tag = "Portal", security(()),
    request_body = ExchangeRequest,
    responses(
        (status = 200, description = "The session's token.", body = ExchangeResponse<'static>),
        (status = 410, description = "The code is good for nothing any more."),
        (status = 500), (status = 502), (status = 504),
    ),
)]
pub async fn exchange(mut request: Request<()>) -> Result<Response, Error> {
    let mut body = request.body(Object::read).await?;
    let code = body.required("code", &mut request.details, |value| match value {
        Value::String(text) if (1..=128).contains(&text.len()) => Ok(text),
        _ => Err("Must be a string of 1 to 128 characters"),
    });
    body.finish(&mut request.details);
    let (context, code) = request.begin(code)?;
    let hash = PortalCode::parse(&code).ok_or(Error::CodeSpent)?.hash();

    let dispatcher = Dispatcher::of_instance().await?;
    let database = dispatcher.database();
    // What is only read first costs who tries codes the others nothing: a write would take turns with them.
    let waiting = database.find_code(&hash, Timestamp::now()).await?;
    let waiting = waiting.ok_or(Error::CodeSpent)?;
    let id = &waiting.application_id;
    // As of now: the database took its time.
    let deadline = Deadline::with_timeout(context.config.store_timeout);
    let reads = try_join(
        applications::application(&context.store, id),
        portal::generation(&context.store, id),
    );
    let (application, generation) = deadline.run("reading an application", reads).await?;
    let application = application.ok_or(Error::CodeSpent)?;
    if generation != waiting.generation {
        return Err(Error::CodeSpent);
    }
    let claim = ClaimToken::generate();
    if !database.take_code(&hash, claim, Timestamp::now()).await? {
        return Err(Error::CodeSpent);
    }
    let session = PortalSession {
        id: waiting.session_id,
        application_id: waiting.application_id,
        merchant_id: application.created.merchant_id.clone(),
        capabilities: waiting.capabilities,
        generation,
        expires_at: waiting.expires_at,
    };
    let settings = application.settings();
    let body = ExchangeResponse {
        token: &session.token(&context.config.secrets_key),
        application_id: &session.application_id,
        application_name: settings.name.as_ref(),
        capabilities: session.capabilities,
        expires_at: session.expires_at,
    };
    Ok(response::json(StatusCode::OK, &body)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn capabilities_are_names_each_once() {
        let names = |value| capabilities(value).map(|it| it.to_string());
        assert_eq!(names(json!(["view"])).as_deref(), Ok("view"));
        assert_eq!(
            names(json!(["rotateSecrets", "view"])).as_deref(),
            Ok("view rotateSecrets")
        );
        for wrong in [
            json!([]),
            json!("view"),
            json!(["view", "view"]),
            json!(["View"]),
            json!(["view", 1]),
            json!(["admin"]),
            json!({}),
        ] {
            assert!(names(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_session_goes_on_for_five_minutes_to_twelve_hours() {
        for (value, expected) in [
            (json!(300), Some(300)),
            (json!(600.0), Some(600)),
            (json!(43_200), Some(43_200)),
            (json!(299), None),
            (json!(43_201), None),
            (json!(600.5), None),
            (json!(-600), None),
            (json!("600"), None),
            (json!(1e300), None),
        ] {
            assert_eq!(seconds(&value), expected, "{value}");
        }
    }
}
