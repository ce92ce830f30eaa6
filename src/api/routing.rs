//! Routing: which handler answers which method of which path. Each component has a table of its own,
//! made by [`routes!`].

use std::future::Future;
use std::pin::Pin;

use http::{Method, StatusCode, Uri};
use utoipa::openapi::HttpMethod;

use super::request::{CallerRequest, Request};
use crate::http::error::Error;
use crate::http::path::Path;
use crate::http::response::Response;
use crate::model::portal::{Capability, PortalSession};
use crate::operator;

/// The routes of a component.
pub struct Routes(Vec<Route>);

/// A path, and what answers its methods.
pub struct Route {
    template: String,
    operations: Vec<Operation>,
}

/// A method of a path.
pub struct Operation {
    method: &'static str,
    /// What answers it.
    pub handler: Handler,
    /// What a session of the portal must be capable of; `None`: no session gets an answer.
    portal: Option<Capability>,
    /// The parameters that its query string can have.
    pub query: &'static [&'static str],
}

/// What answers a method.
#[derive(Clone, Copy)]
pub enum Handler {
    /// It answers anyone.
    Public(fn() -> Answer),
    /// It answers anyone who sends a good body.
    Anyone(fn(Request<()>) -> Answer),
    /// It answers whoever has a valid token: a merchant, or a system of the platform.
    Caller(fn(CallerRequest) -> Answer),
    /// It answers the merchant whose token came with the request.
    Merchant(fn(Request) -> Answer),
    /// It answers the operator, whose token came with the request.
    Operator(fn(operator::Request) -> Answer),
}

/// What a handler comes to.
pub type Answer = Pin<Box<dyn Future<Output = Result<Response, Error>>>>;

/// The route of a request, and the parameters in its path.
pub struct Match {
    /// The route.
    pub route: &'static Route,
    /// The parameters.
    pub path: Path,
}

/// Makes a component's table of routes, a static, and beside it the type whose
/// [`utoipa::OpenApi::openapi`] describes those that are annotated. A line says whom the handler
/// answers (`public`, `anyone`, `caller`, `merchant`, `operator`), and after `?` which parameters its query
/// string can have. Whom a token names says in parentheses what a session of the portal must be capable of:
/// the name of a [`Capability`], or `never`. A line without it does not compile.
macro_rules! routes {
    (
        $(#[$doc:meta])*
        $name:ident
        annotated by $annotations:ident {
            $($who:ident $(($portal:ident))? $module:ident::$handler:ident
                $(? $($parameter:ident)&+)?;)+
        }
        $(and {$(
            $other_who:ident $other_module:ident::$other_handler:ident
                = $method:ident $path:literal $(? $($other_parameter:ident)&+)?;
        )+})?
    ) => {
        $(#[$doc])*
        pub static $name: std::sync::LazyLock<$crate::api::routing::Routes> =
            std::sync::LazyLock::new(|| $crate::api::routing::Routes::new(&[
                $(pastey::paste! {
                    $crate::api::routing::Line {
                        place: $crate::api::routing::Place::Annotated(
                            <$module::[<__path_ $handler>] as utoipa::Path>::path,
                            <$module::[<__path_ $handler>] as utoipa::Path>::methods,
                        ),
                        handler: $crate::api::routing::routes!(@$who $module::$handler),
                        portal: $crate::api::routing::routes!(@portal $who $($portal)?),
                        query: &[$($(stringify!($parameter)),+)?],
                    }
                },)+
                $($($crate::api::routing::Line {
                    place: $crate::api::routing::Place::Here($path, stringify!($method)),
                    handler: $crate::api::routing::routes!(@$other_who $other_module::$other_handler),
                    portal: $crate::api::routing::routes!(@portal $other_who),
                    query: &[$($(stringify!($other_parameter)),+)?],
                },)+)?
            ]));

        /// What the handlers' annotations say of them.
        #[derive(utoipa::OpenApi)]
        #[openapi(paths($($module::$handler),+))]
        pub struct $annotations;
    };
    (@public $module:ident::$handler:ident) => {
        $crate::api::routing::Handler::Public(|| Box::pin($module::$handler()))
    };
    (@anyone $module:ident::$handler:ident) => {
        $crate::api::routing::Handler::Anyone(|request| Box::pin($module::$handler(request)))
    };
    (@portal public) => { None };
    (@portal anyone) => { None };
    (@portal operator) => { None };
    (@portal $who:ident never) => { None };
    (@portal $who:ident $capability:ident) => {
        Some(pastey::paste! { $crate::model::portal::Capability::[<$capability:camel>] })
    };
    (@caller $module:ident::$handler:ident) => {
        $crate::api::routing::Handler::Caller(|request| Box::pin($module::$handler(request)))
    };
    (@merchant $module:ident::$handler:ident) => {
        $crate::api::routing::Handler::Merchant(|request| Box::pin($module::$handler(request)))
    };
    (@operator $module:ident::$handler:ident) => {
        $crate::api::routing::Handler::Operator(|request| Box::pin($module::$handler(request)))
    };
}
pub(crate) use routes;

/// A line of [`routes!`].
pub struct Line {
    /// Where its method and path are.
    pub place: Place,
    /// What answers it.
    pub handler: Handler,
    /// What a session of the portal must be capable of.
    pub portal: Option<Capability>,
    /// The parameters that its query string can have.
    pub query: &'static [&'static str],
}

/// Where a line's method and path are.
pub enum Place {
    /// In the handler's annotation.
    Annotated(fn() -> String, fn() -> Vec<HttpMethod>),
    /// Here: the path, and the method.
    Here(&'static str, &'static str),
}

fn name(method: &HttpMethod) -> &'static str {
    match method {
        HttpMethod::Get => "GET",
        HttpMethod::Post => "POST",
        HttpMethod::Put => "PUT",
        HttpMethod::Delete => "DELETE",
        HttpMethod::Options => "OPTIONS",
        HttpMethod::Head => "HEAD",
        HttpMethod::Patch => "PATCH",
        HttpMethod::Trace => "TRACE",
    }
}

impl Routes {
    /// The routes of these lines.
    pub fn new(lines: &[Line]) -> Self {
        let mut routes = Self(Vec::new());
        for line in lines {
            match line.place {
                Place::Here(path, method) => routes.add(path, method, line),
                Place::Annotated(path, methods) => {
                    for method in methods() {
                        routes.add(&path(), name(&method), line);
                    }
                }
            }
        }
        routes
    }

    fn add(&mut self, path: &str, method: &'static str, line: &Line) {
        let operation = Operation {
            method,
            handler: line.handler,
            portal: line.portal,
            query: line.query,
        };
        match self.0.iter_mut().find(|route| route.template == path) {
            Some(route) => route.operations.push(operation),
            None => self.0.push(Route {
                template: path.to_owned(),
                operations: vec![operation],
            }),
        }
    }

    /// The route of a path. A parameter is never empty.
    pub fn find(&'static self, path: &str) -> Option<Match> {
        let route = self.0.iter().find(|route| matches(path, &route.template))?;
        let segments = route.template.split('/').zip(path.split('/'));
        let parameters = segments.filter_map(|(name, sent)| Some((parameter(name)?, sent)));
        Some(Match {
            route,
            path: Path::new(parameters),
        })
    }

    /// Where a request for a path without a route is redirected, if anywhere: from the root to the
    /// reference, and from a path with a slash at its end to the one without, method, body and query
    /// as they are (RFC 9110 §15.4.8, §15.4.9).
    pub fn redirect(&'static self, method: &Method, uri: &Uri) -> Option<(StatusCode, String)> {
        let path = uri.path();
        if path == "/" && [Method::GET, Method::HEAD].contains(method) {
            // Not for ever: the root may get a page of its own.
            return Some((StatusCode::TEMPORARY_REDIRECT, "/docs".to_owned()));
        }
        let path = path.strip_suffix('/')?;
        // A path of ours: what others write must not lead to another host, as `//example.com/` would.
        self.find(path)
            .filter(|found| !found.route.is_operators())?;
        let query = uri.query().map(|query| format!("?{query}"));
        let target = format!("{path}{}", query.unwrap_or_default());
        Some((StatusCode::PERMANENT_REDIRECT, target))
    }
}

impl Operation {
    /// Lets a session of the portal through that is capable of this.
    ///
    /// # Errors
    ///
    /// [`Error::Forbidden`] where no session is, [`Error::MissingCapability`].
    pub fn check_portal(&self, session: &PortalSession) -> Result<(), Error> {
        match self.portal {
            None => Err(Error::Forbidden),
            Some(capability) if session.capabilities.has(capability) => Ok(()),
            Some(capability) => Err(Error::MissingCapability(capability)),
        }
    }
}

impl Routes {
    /// Each operation that a token is needed for: its path, its method, and what a session of the portal
    /// must be capable of.
    #[cfg(any(feature = "openapi", test))]
    pub fn capabilities(&self) -> Vec<(&str, &'static str, Option<Capability>)> {
        let operations = self.0.iter().flat_map(|route| {
            let operations = route.operations.iter().map(move |it| (route, it));
            operations.filter(|(_, operation)| {
                matches!(operation.handler, Handler::Caller(_) | Handler::Merchant(_))
            })
        });
        operations
            .map(|(route, operation)| (route.template(), operation.method, operation.portal))
            .collect()
    }
}

impl Route {
    /// The path with its parameters' names, such as `/api/v1/applications/{applicationId}`.
    pub fn template(&self) -> &str {
        &self.template
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
    pub fn operation(&self, method: &Method) -> Result<&Operation, Error> {
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
}

/// Whether `path` is what `template` describes.
fn matches(path: &str, template: &str) -> bool {
    let (mut segments, mut expected) = (path.split('/'), template.split('/'));
    loop {
        match (segments.next(), expected.next()) {
            (None, None) => return true,
            (Some(segment), Some(expected)) if segment == expected => {}
            (Some(segment), Some(name)) if parameter(name).is_some() && !segment.is_empty() => {}
            _ => return false,
        }
    }
}

/// The name of the parameter that a segment of a template is, such as `{applicationId}`.
fn parameter(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}
