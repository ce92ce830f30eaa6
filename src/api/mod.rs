//! HTTP: the routes, and what holds for all of them. One file per resource.

pub mod applications;
pub mod body;
pub mod etag;
pub mod health;
pub mod idempotency;
pub mod page;
pub mod rotation;
pub mod test_delivery;
pub mod webhooks;

use std::convert::Infallible;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, MatchedPath, RawPathParams, Request};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_MATCH, LOCATION,
    RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method};
use http_body_util::BodyExt;
use tower_http::cors::CorsLayer;
use tower_service::Service;
use uuid::Uuid;

use self::idempotency::{IDEMPOTENCY_KEY, IDEMPOTENCY_REPLAYED};
use crate::application::ApplicationId;
use crate::config::Config;
use crate::error::{Cause, Detail, Error};
use crate::log;
pub use crate::log::RequestId;
use crate::webhook::WebhookId;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Answers one request.
pub async fn handle<B>(request: http::Request<B>) -> Response
where
    B: http_body::Body<Data = axum::body::Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    static ROUTER: OnceLock<Router> = OnceLock::new();

    // Without its configuration an instance still answers, and has no origins to allow.
    let mut router = match (ROUTER.get(), Config::load().await) {
        (Some(router), _) => router.clone(),
        (None, Ok(config)) => ROUTER.get_or_init(|| router(config)).clone(),
        (None, Err(_)) => observed(routes()),
    };
    let answered: Result<Response, Infallible> = router.call(request).await;
    let mut response = answered.unwrap_or_else(|never| match never {});
    // A response without a length goes out chunked, which costs Spin a third of its throughput:
    // the router gives every response its length. RFC 9110 §8.6: 204 has none.
    if response.status() == http::StatusCode::NO_CONTENT {
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    response
}

fn router(config: &Config) -> Router {
    let routes = routes();
    if config.cors_allowed_origins.is_empty() {
        return observed(routes);
    }
    observed(routes.layer(cors(config)))
}

/// What the pages of the configured origins may do with a browser (Fetch Standard §3.3). Never
/// with credentials of the browser's own: tokens come in a header.
fn cors(config: &Config) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(config.cors_allowed_origins.clone())
        .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::DELETE])
        .allow_headers([AUTHORIZATION, CONTENT_TYPE, IDEMPOTENCY_KEY, IF_MATCH])
        .expose_headers([
            ETAG,
            IDEMPOTENCY_REPLAYED,
            LOCATION,
            RETRY_AFTER,
            WWW_AUTHENTICATE,
            X_REQUEST_ID,
        ])
        .max_age(Duration::from_secs(7200)) // Chromium's most.
}

/// The routes, told once: for the router, and for the document that describes them.
macro_rules! routes {
    ($($path:literal { $($method:ident $($handler:ident)::+;)+ })+) => {
        fn routes() -> Router {
            Router::new()
                $(.route($path, MethodRouter::new()$(.$method($($handler)::+))+))+
                .fallback(async || Error::NotFound)
                .method_not_allowed_fallback(async || Error::MethodNotAllowed)
        }

        /// Method and path of every route.
        #[cfg(feature = "openapi")]
        pub(crate) const ROUTES: &[(&str, &str)] = &[$($((stringify!($method), $path),)+)+];

        /// What the handlers' annotations say of them.
        #[cfg(feature = "openapi")]
        #[derive(utoipa::OpenApi)]
        #[openapi(paths($($($($handler)::+,)+)+))]
        pub(crate) struct Annotations;
    };
}

routes! {
    "/api/v1/applications" {
        post applications::create;
        get applications::list;
    }
    "/api/v1/applications/{applicationId}" {
        get applications::read;
        patch applications::change;
        delete applications::delete;
    }
    "/api/v1/applications/{applicationId}/webhooks" {
        post webhooks::create;
        get webhooks::list;
    }
    "/api/v1/applications/{applicationId}/webhooks/{webhookId}" {
        get webhooks::read;
        patch webhooks::change;
        delete webhooks::delete;
    }
    "/api/v1/applications/{applicationId}/webhooks/{webhookId}/rotate" {
        post rotation::rotate;
    }
    "/api/v1/applications/{applicationId}/webhooks/{webhookId}/test" {
        post test_delivery::send;
    }
    "/healthz" {
        get health::live;
    }
    "/readyz" {
        get health::ready;
    }
}

fn observed(routes: Router) -> Router {
    // With its state, though it has none, each route is made once and not with every request.
    routes.layer(middleware::from_fn(observe)).with_state(())
}

async fn observe(mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = Uuid::new_v4().to_string();
    let method = request.method().clone();
    // The router takes an empty segment for a parameter; there is no such resource.
    let has_empty_segment = request.uri().path().contains("//");
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .filter(|_| !has_empty_segment)
        .cloned();
    request.extensions_mut().insert(RequestId(id.clone()));

    let mut response = if has_empty_segment {
        Error::NotFound.into_response()
    } else {
        next.run(request).await
    };

    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(X_REQUEST_ID, id);
    }
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    let cause = response.extensions_mut().remove::<Cause>();
    log::request(
        &id,
        &method,
        route.as_ref().map(MatchedPath::as_str),
        response.status(),
        started.elapsed(),
        cause.as_ref().map(|cause| cause.0.as_str()),
    );
    response
}

/// Collects what is wrong with a request, so that the client is told all of it at once.
#[derive(Debug, Default)]
pub struct Details(Vec<Detail>);

impl Details {
    /// Notes that `field` is wrong.
    pub fn add(&mut self, field: &str, message: impl ToString) {
        self.0.push(Detail {
            field: field.to_owned(),
            message: message.to_string(),
        });
    }

    /// The value, or a note that `field` is wrong.
    pub fn check<T, E: ToString>(&mut self, field: &str, value: Result<T, E>) -> Option<T> {
        value
            .map_err(|error| self.add(field, error.to_string()))
            .ok()
    }

    /// 400 if anything was wrong.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] with every note.
    pub fn finish(self) -> Result<(), Error> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(Error::Invalid(self.0))
    }

    /// What all checks together gave, or 400 if anything was wrong.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] with every note.
    pub fn all<T>(self, checked: Option<T>) -> Result<T, Error> {
        self.finish()?;
        checked.ok_or_else(|| Error::Internal("a wrong field was not noted".to_owned()))
    }
}

/// The path's parameters, decoded but not yet checked.
pub struct Path(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Path {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        // What does not decode to UTF-8 is left out, and so fails the parameter's own check.
        let params = RawPathParams::from_request_parts(parts, state).await;
        Ok(Self(params.map_or_else(
            |_| Vec::new(),
            |params| {
                params
                    .iter()
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .collect()
            },
        )))
    }
}

impl Path {
    fn get(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }

    /// The path's `applicationId`.
    pub fn application(&self, details: &mut Details) -> Option<ApplicationId> {
        let id = ApplicationId::parse(self.get("applicationId"));
        details.check(
            "applicationId",
            id.ok_or("Must be 1 to 128 letters, digits, `-`, `_`, `.` or `~`"),
        )
    }

    /// The path's `webhookId`.
    pub fn webhook(&self, details: &mut Details) -> Option<WebhookId> {
        let id = WebhookId::parse(self.get("webhookId"));
        details.check("webhookId", id.ok_or("Must be a UUID"))
    }
}

/// An empty response.
pub fn no_content() -> Response {
    let mut response = Body::empty().into_response();
    *response.status_mut() = http::StatusCode::NO_CONTENT;
    response
}

/// Reads a body of at most `limit` bytes.
async fn read_body(body: Body, limit: usize) -> Result<Vec<u8>, Error> {
    let limited = http_body_util::Limited::new(body, limit);
    match limited.collect().await {
        Ok(collected) => Ok(collected.to_bytes().into()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(Error::BodyTooLarge),
        Err(_) => Err(Error::invalid("body", "The body could not be read")),
    }
}
