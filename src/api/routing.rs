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
use crate::operator;

/// The routes of a component.
pub struct Routes(matchit::Router<Route>);

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
    /// The parameters that its query string can have.
    pub query: &'static [&'static str],
}

/// What answers a method.
#[derive(Clone, Copy)]
pub enum Handler {
    /// It answers anyone.
    Public(fn() -> Answer),
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
/// answers (`public`, `caller`, `merchant`, `operator`), and after `?` which parameters its query string can
/// have.
macro_rules! routes {
    (
        $(#[$doc:meta])*
        $name:ident
        annotated by $annotations:ident {
            $($who:ident $module:ident::$handler:ident $(? $($parameter:ident)&+)?;)+
        }
        $(and {$(
            $other_who:ident $other_module:ident::$other_handler:ident
                = $method:ident $path:literal $(? $($other_parameter:ident)&+)?;
        )+})?
    ) => {
        $(#[$doc])*
        pub static $name: std::sync::LazyLock<$crate::api::routing::Routes> =
            std::sync::LazyLock::new(|| {
                let mut routes = $crate::api::routing::Table::default();
                $(pastey::paste! {
                    routes.annotated::<$module::[<__path_ $handler>]>(
                        $crate::api::routing::routes!(@$who $module::$handler),
                        &[$($(stringify!($parameter)),+)?],
                    );
                })+
                $($(routes.add(
                    stringify!($method),
                    $path,
                    $crate::api::routing::routes!(@$other_who $other_module::$other_handler),
                    &[$($(stringify!($other_parameter)),+)?],
                );)+)?
                routes.into()
            });

        /// What the handlers' annotations say of them.
        #[derive(utoipa::OpenApi)]
        #[openapi(paths($($module::$handler),+))]
        pub struct $annotations;
    };
    (@public $module:ident::$handler:ident) => {
        $crate::api::routing::Handler::Public(|| Box::pin($module::$handler()))
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

/// Routes that are being put together.
#[derive(Default)]
pub struct Table(Vec<Route>);

impl Table {
    /// Adds the operation with this annotation.
    pub fn annotated<A: utoipa::Path>(&mut self, handler: Handler, query: &'static [&'static str]) {
        let path = A::path();
        for method in A::methods() {
            self.add(name(&method), &path, handler, query);
        }
    }

    /// Adds an operation.
    pub fn add(
        &mut self,
        method: &'static str,
        path: &str,
        handler: Handler,
        query: &'static [&'static str],
    ) {
        let operation = Operation {
            method,
            handler,
            query,
        };
        match self.0.iter_mut().find(|route| route.template == path) {
            Some(route) => route.operations.push(operation),
            None => self.0.push(Route {
                template: path.to_owned(),
                operations: vec![operation],
            }),
        }
    }
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

/// # Panics
///
/// When two templates describe one path. The tests of a component's table would find it.
impl From<Table> for Routes {
    fn from(table: Table) -> Self {
        let mut router = matchit::Router::new();
        for route in table.0 {
            let inserted = router.insert(route.template.clone(), route);
            inserted.expect("no two templates describe one path");
        }
        Self(router)
    }
}

impl Routes {
    /// The route of a path. A parameter is never empty.
    pub fn find(&'static self, path: &str) -> Option<Match> {
        let found = self.0.at(path).ok()?;
        Some(Match {
            route: found.value,
            path: Path::new(found.params.iter()),
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
