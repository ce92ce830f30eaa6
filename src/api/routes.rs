//! The routes: which handler answers which method of which path.

use std::future::Future;
use std::pin::Pin;

use http::{Method, StatusCode, Uri};

use super::{applications, event_types, health, rotation, test_delivery, webhooks};
use crate::http::error::Error;
use crate::http::request::{CallerRequest, OperatorRequest, Request};
use crate::http::response::Response;
use crate::operator;

/// A path, and what answers its methods.
pub struct Route {
    /// The path with its parameters' names, such as `/api/v1/applications/{applicationId}`.
    pub template: &'static str,
    operations: &'static [Operation],
}

/// A method of a path.
pub struct Operation {
    method: &'static str,
    /// What answers it.
    pub handler: Handler,
    /// The parameters that its query string can have.
    pub query: &'static [&'static str],
}

/// What answers a method.
#[derive(Clone, Copy)]
pub enum Handler {
    /// It answers anyone.
    Anyone(fn() -> Answer),
    /// It answers whoever has a valid token: a merchant, or a system of the platform.
    Caller(fn(CallerRequest) -> Answer),
    /// It answers the merchant whose token came with the request.
    Merchant(fn(Request) -> Answer),
    /// It answers the operator, whose token came with the request.
    Operator(fn(OperatorRequest) -> Answer),
}

/// What a handler comes to.
pub type Answer = Pin<Box<dyn Future<Output = Result<Response, Error>>>>;

/// The routes, told once: for the service, and for the document that describes them.
macro_rules! routes {
    ($($template:literal {
        $($method:ident $who:ident $($handler:ident)::+ $(? $($parameter:ident)&+)?;)+
    })+) => {
        static ROUTES: &[Route] = &[$(Route {
            template: $template,
            operations: &[$(Operation {
                method: stringify!($method),
                handler: routes!($who $($handler)::+),
                query: &[$($(stringify!($parameter)),+)?],
            }),+],
        }),+];

        /// What the handlers' annotations say of them.
        #[cfg(feature = "openapi")]
        #[derive(utoipa::OpenApi)]
        #[openapi(paths($($($($handler)::+,)+)+))]
        pub(crate) struct Annotations;
    };
    (anyone $($handler:ident)::+) => { Handler::Anyone(|| Box::pin($($handler)::+())) };
    (caller $($handler:ident)::+) => {
        Handler::Caller(|request| Box::pin($($handler)::+(request)))
    };
    (merchant $($handler:ident)::+) => {
        Handler::Merchant(|request| Box::pin($($handler)::+(request)))
    };
}

routes! {
    "/api/v1/applications" {
        POST merchant applications::create;
        GET merchant applications::list ? page & limit;
    }
    "/api/v1/applications/{applicationId}" {
        GET merchant applications::read;
        PATCH merchant applications::change;
        DELETE merchant applications::delete;
    }
    "/api/v1/applications/{applicationId}/webhooks" {
        POST merchant webhooks::create;
        GET merchant webhooks::list ? page & limit;
    }
    "/api/v1/applications/{applicationId}/webhooks/{webhookId}" {
        GET merchant webhooks::read;
        PATCH merchant webhooks::change;
        DELETE merchant webhooks::delete;
    }
    "/api/v1/applications/{applicationId}/webhooks/{webhookId}/rotate" {
        POST merchant rotation::rotate;
    }
    "/api/v1/applications/{applicationId}/webhooks/{webhookId}/test" {
        POST merchant test_delivery::send;
    }
    "/api/v1/event-types" {
        GET caller event_types::list;
    }
    "/healthz" {
        GET anyone health::live;
    }
    "/readyz" {
        GET anyone health::ready;
    }
}

/// The operator's routes. They stand apart because the OpenAPI document is for merchants:
/// docs/operations.md describes these.
static OPERATORS_ROUTES: &[Route] = &[
    Route {
        template: "/metrics",
        operations: &[Operation {
            method: "GET",
            handler: Handler::Operator(|request| Box::pin(operator::metrics(request))),
            query: &["documents"],
        }],
    },
    Route {
        template: "/operator/v1/doctor",
        operations: &[Operation {
            method: "POST",
            handler: Handler::Operator(|request| Box::pin(operator::doctor(request))),
            query: &["fix"],
        }],
    },
    Route {
        template: "/operator/v1/reencrypt",
        operations: &[Operation {
            method: "POST",
            handler: Handler::Operator(|request| Box::pin(operator::reencrypt(request))),
            query: &[],
        }],
    },
    Route {
        template: "/operator/v1/reindex",
        operations: &[Operation {
            method: "POST",
            handler: Handler::Operator(|request| Box::pin(operator::reindex(request))),
            query: &[],
        }],
    },
];

impl Route {
    /// The route of a path.
    pub fn of(path: &str) -> Option<&'static Self> {
        let mut routes = ROUTES.iter().chain(OPERATORS_ROUTES);
        routes.find(|route| matches(path, route.template))
    }

    /// Whether only the operator is answered here.
    pub fn is_operators(&self) -> bool {
        let mut operations = self.operations.iter();
        operations.any(|operation| matches!(operation.handler, Handler::Operator(_)))
    }

    /// The operation of `method`.
    ///
    /// # Errors
    ///
    /// [`Error::MethodNotAllowed`].
    pub fn operation(&self, method: &Method) -> Result<&'static Operation, Error> {
        // RFC 9110 §9.3.2: HEAD is GET without the body.
        let answered = match *method {
            Method::HEAD => "GET",
            _ => method.as_str(),
        };
        let mut operations = self.operations.iter();
        operations
            .find(|operation| operation.method == answered)
            .ok_or_else(|| Error::MethodNotAllowed(self.allow()))
    }

    /// The value of the header `Allow`.
    fn allow(&self) -> String {
        let operations = self.operations.iter();
        let names = operations.map(|operation| match operation.method {
            "GET" => "GET,HEAD",
            method => method,
        });
        names.collect::<Vec<_>>().join(",")
    }

    /// Method and path of every route but the operator's.
    #[cfg(feature = "openapi")]
    pub(crate) fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
        ROUTES.iter().flat_map(|route| {
            let operations = route.operations.iter();
            operations.map(|operation| (operation.method, route.template))
        })
    }
}

/// Where a request for a path without a route is redirected, if anywhere: from the root to the
/// reference, and from a path with a slash at its end to the one without, method, body and query
/// as they are (RFC 9110 §15.4.8, §15.4.9).
pub fn redirect(method: &Method, uri: &Uri) -> Option<(StatusCode, String)> {
    let path = uri.path();
    if path == "/" && [Method::GET, Method::HEAD].contains(method) {
        // Not for ever: the root may get a page of its own.
        return Some((StatusCode::TEMPORARY_REDIRECT, "/docs".to_owned()));
    }
    let path = path.strip_suffix('/')?;
    // A path of ours: what others write must not lead to another host, as `//example.com/` would.
    Route::of(path).filter(|route| !route.is_operators())?;
    let query = uri.query().map(|query| format!("?{query}"));
    let target = format!("{path}{}", query.unwrap_or_default());
    Some((StatusCode::PERMANENT_REDIRECT, target))
}

/// Whether `path` is what `template` describes. A parameter is never empty.
fn matches(path: &str, template: &str) -> bool {
    let (mut segments, mut expected) = (path.split('/'), template.split('/'));
    loop {
        match (segments.next(), expected.next()) {
            (None, None) => return true,
            (Some(segment), Some(expected)) if segment == expected => {}
            (Some(segment), Some(name)) if name.starts_with('{') && !segment.is_empty() => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_the_route_whose_template_it_fits() {
        let template = |path: &str| Route::of(path).map(|route| route.template);
        for route in ROUTES.iter().chain(OPERATORS_ROUTES) {
            let filled = route
                .template
                .replace("{applicationId}", "shop")
                .replace("{webhookId}", "1");
            assert_eq!(template(&filled), Some(route.template));
            for other in [
                format!("{filled}/"),
                format!("/{filled}"),
                filled[1..].to_owned(),
            ] {
                assert_eq!(template(&other), None, "{other}");
            }
        }
        for path in [
            "",
            "/",
            "*",
            "/api/v1/applications//webhooks",
            "/api/v1/Applications",
        ] {
            assert_eq!(template(path), None, "{path}");
        }
    }

    #[test]
    fn the_root_is_redirected_to_the_reference_and_a_trailing_slash_to_the_path_without() {
        let redirect = |method, uri: &str| redirect(&method, &uri.parse().unwrap());
        let docs = Some((StatusCode::TEMPORARY_REDIRECT, "/docs".to_owned()));
        assert_eq!(redirect(Method::GET, "/"), docs);
        assert_eq!(redirect(Method::HEAD, "/?a=b"), docs);
        for (uri, target) in [
            ("/healthz/", "/healthz"),
            (
                "/api/v1/applications/?page=2&a=/",
                "/api/v1/applications?page=2&a=/",
            ),
            (
                "/api/v1/applications/a%2Fb/webhooks/",
                "/api/v1/applications/a%2Fb/webhooks",
            ),
        ] {
            let moved = Some((StatusCode::PERMANENT_REDIRECT, target.to_owned()));
            assert_eq!(redirect(Method::POST, uri), moved);
        }
        for uri in [
            "/",
            "/healthz",
            "/healthz//",
            "/unknown/",
            "//example.com/",
            "/api/v1/applications//webhooks/",
        ] {
            assert_eq!(redirect(Method::POST, uri), None, "{uri}");
        }
    }

    #[test]
    fn head_is_answered_where_get_is_and_allow_names_both() {
        let route = |path| Route::of(path).unwrap();
        let probe = route("/healthz");
        assert!(probe.operation(&Method::HEAD).is_ok());
        let refused = probe.operation(&Method::POST).err();
        assert_eq!(
            refused,
            Some(Error::MethodNotAllowed("GET,HEAD".to_owned()))
        );
        let test = route("/api/v1/applications/a/webhooks/b/test");
        let refused = test.operation(&Method::HEAD).err();
        assert_eq!(refused, Some(Error::MethodNotAllowed("POST".to_owned())));
    }
}
