//! What holds for every request, whatever its route: who asks, CORS, the headers of each response, and
//! its log line.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HOST, IF_MATCH,
    IF_NONE_MATCH, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::BodyExt;
use tower_http::cors::CorsLayer;
use tower_layer::Layer;
use tower_service::Service;

use super::request::Request;
use super::routing::{Handler, Match, Operation, Routes};
use crate::auth::{authenticate, authenticate_operator};
use crate::config::Config;
use crate::http::body::{Body, BodyError};
use crate::http::details::Details;
use crate::http::error::{Error, LogDetail};
use crate::http::idempotency::{IDEMPOTENCY_KEY, IDEMPOTENCY_REPLAYED};
use crate::http::path::Path;
use crate::http::query::Query;
use crate::http::response::{self, Response};
use crate::http::traceparent;
use crate::log;
use crate::model::caller::{Caller, Owner};
use crate::model::portal::SessionId;
use crate::model::random;
use crate::model::time::Timestamp;
use crate::operator;
use crate::store::{keys, spin};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Answers one request, as the component's routes have it.
pub async fn serve<B>(routes: &'static Routes, request: http::Request<B>) -> Response
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BodyError>,
{
    let started = Instant::now();
    let arrived = Timestamp::now();
    let request = request.map(|body| Body::new(body.map_err(Into::into)));
    let request_id = uuid::Builder::from_random_bytes(random::unique());
    let request_id = request_id.into_uuid().to_string();
    let method = request.method().clone();
    let found = routes.find(request.uri().path());
    let traceparent = traceparent::read(request.headers()).map(str::to_owned);
    let application = found
        .as_ref()
        .and_then(|found| found.path.application(&mut Details::default()));
    let app = App {
        routes,
        found: found.as_ref(),
        request_id: &request_id,
        arrived,
    };
    let mut response = match cors().await {
        None => app.answer(request).await,
        Some(cors) => {
            let Ok(response) = cors.layer(app).call(request).await;
            response
        }
    };

    let length = match response.body_mut() {
        response::Body::Text(text) => {
            let length = text.len();
            if method == Method::HEAD {
                text.clear();
            }
            Some(length)
        }
        response::Body::Lines(_) => None,
    };
    let detail = response.extensions_mut().remove::<LogDetail>();
    let caller = response.extensions_mut().remove::<LogCaller>();
    let (merchant, session) = caller.map_or((None, None), |it| (it.merchant, it.session));
    let status = response.status();
    let headers = response.headers_mut();
    // A response without a length goes out chunked, which costs Spin a third of its throughput.
    // RFC 9110 §8.6: 204 has none, and that of 304 would be the length of what is not sent.
    if let Some(length) = length
        && ![StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status)
    {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    if let Ok(id) = HeaderValue::from_str(&request_id) {
        headers.insert(X_REQUEST_ID, id);
    }
    let no_store = HeaderValue::from_static("no-store");
    headers.entry(CACHE_CONTROL).or_insert(no_store);
    let duration = started.elapsed();
    log::request(&log::Answered {
        time: arrived.plus(duration),
        request_id: &request_id,
        traceparent: traceparent.as_deref(),
        merchant: merchant.as_deref(),
        portal_session: session.as_ref().map(SessionId::as_str),
        application: application.as_ref(),
        method: &method,
        route: found.as_ref().map(|found| found.route.template()),
        status,
        duration,
        detail: detail.as_ref().map(|detail| detail.0.as_str()),
    });
    response
}

/// What the pages of the configured origins may do with a browser (Fetch Standard §3.3); `None`
/// when none are configured. Never with credentials of the browser's own: tokens come in a header.
async fn cors() -> Option<&'static CorsLayer> {
    static CORS: OnceLock<CorsLayer> = OnceLock::new();

    // Without its configuration an instance still answers, and has no origins to allow.
    let config = Config::load().await.ok()?;
    if config.cors_allowed_origins.is_empty() {
        return None;
    }
    Some(CORS.get_or_init(|| {
        CorsLayer::new()
            .allow_origin(config.cors_allowed_origins.clone())
            .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::DELETE])
            .allow_headers([
                AUTHORIZATION,
                CONTENT_TYPE,
                IDEMPOTENCY_KEY,
                IF_MATCH,
                IF_NONE_MATCH,
            ])
            .expose_headers([
                ETAG,
                IDEMPOTENCY_REPLAYED,
                LOCATION,
                RETRY_AFTER,
                WWW_AUTHENTICATE,
                X_REQUEST_ID,
            ])
            .max_age(Duration::from_secs(7200)) // Chromium's most.
    }))
}

/// Whom a request's token names, for the log; rides on the response as an extension.
#[derive(Clone)]
struct LogCaller {
    /// The hash of the merchant.
    merchant: Option<String>,
    /// The portal's session.
    session: Option<SessionId>,
}

impl LogCaller {
    fn of(caller: &Caller) -> Self {
        Self {
            merchant: caller.merchant().map(keys::merchant),
            session: caller.session().map(|session| session.id.clone()),
        }
    }
}

/// Answers one request, as its route wants it.
#[derive(Clone, Copy)]
struct App<'a> {
    routes: &'static Routes,
    found: Option<&'a Match>,
    request_id: &'a str,
    arrived: Timestamp,
}

impl App<'_> {
    async fn answer(self, request: http::Request<Body>) -> Response {
        let mut caller = None;
        let answered = self.dispatch(request, &mut caller).await;
        let mut response = answered.unwrap_or_else(Error::into_response);
        if let Some(caller) = caller {
            response.extensions_mut().insert(caller);
        }
        response
    }

    async fn dispatch(
        self,
        request: http::Request<Body>,
        who: &mut Option<LogCaller>,
    ) -> Result<Response, Error> {
        let Some(Match { route, path }) = self.found else {
            let target = self.routes.redirect(request.method(), request.uri());
            let (status, target) = target.ok_or(Error::NotFound)?;
            return response::redirect(status, &target).ok_or(Error::NotFound);
        };
        // Where nobody can be the operator there is nothing to find, by no method.
        if route.is_operators() && Config::load().await?.operator_token.is_none() {
            return Err(Error::NotFound);
        }
        let operation = route.operation(request.method())?;
        let mut details = Details::default();
        let query = Query::parse(request.uri().query(), operation.query, &mut details);
        match operation.handler {
            Handler::Public(handler) => {
                details.finish()?;
                handler().await
            }
            Handler::Anyone(handler) => {
                let config = Config::load().await?;
                handler(self.request((), config, request, path, query, details)).await
            }
            Handler::Caller(handler) => {
                let (caller, config) = self.authenticated(&request, operation, who).await?;
                handler(self.request(caller, config, request, path, query, details)).await
            }
            Handler::Merchant(handler) => {
                let (caller, config) = self.authenticated(&request, operation, who).await?;
                let owner = Owner::of(caller).ok_or(Error::Forbidden)?;
                handler(self.request(owner, config, request, path, query, details)).await
            }
            Handler::Operator(handler) => {
                let config = Config::load().await?;
                authenticate_operator(request.headers(), config)?;
                let request = operator::Request {
                    config,
                    store: spin::store(),
                    request_id: self.request_id.to_owned(),
                    query,
                    details,
                };
                handler(request).await
            }
        }
    }

    /// Whom the request's token names, who may ask for the operation.
    async fn authenticated(
        self,
        request: &http::Request<Body>,
        operation: &Operation,
        who: &mut Option<LogCaller>,
    ) -> Result<(Caller, &'static Config), Error> {
        let config = Config::load().await?;
        let caller = authenticate(request.headers(), config, self.request_id, self.arrived).await?;
        *who = Some(LogCaller::of(&caller));
        if let Some(session) = caller.session() {
            operation.check_portal(session)?;
        }
        Ok((caller, config))
    }

    /// The request as handlers get it.
    fn request<Who>(
        self,
        caller: Who,
        config: &'static Config,
        request: http::Request<Body>,
        path: &Path,
        query: Query,
        details: Details,
    ) -> Request<Who> {
        let (head, body) = request.into_parts();
        Request {
            caller,
            config,
            store: spin::store(),
            request_id: self.request_id.to_owned(),
            arrived: self.arrived,
            origin: origin(&head),
            path: path.clone(),
            query,
            details,
            headers: head.headers,
            body,
        }
    }
}

/// Where the request was sent to, such as `https://webhooks.example.com`, as far as the host says.
fn origin(head: &http::request::Parts) -> Option<String> {
    let host = head.headers.get(HOST).and_then(|host| host.to_str().ok());
    let authority = head.uri.authority().map(|authority| authority.as_str());
    let authority = authority.or(host)?;
    let scheme = head.uri.scheme_str().unwrap_or("http");
    Some(format!("{scheme}://{authority}"))
}

/// For [`CorsLayer`].
impl<'a> Service<http::Request<Body>> for App<'a> {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + 'a>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let app = *self;
        Box::pin(async move { Ok(app.answer(request).await) })
    }
}
