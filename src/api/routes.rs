//! The routes of the API's component. Each has its method and path in the annotation of its handler,
//! which is in the OpenAPI document too.

use super::routing::routes;
use super::{applications, event_types, health, rotation, test_delivery, webhooks};

routes! {
    /// What `application-webhooks` answers.
    ROUTES annotated by Annotations {
        merchant(never) applications::create;
        merchant(never) applications::list ? page & limit;
        merchant(view) applications::read;
        merchant(never) applications::change;
        merchant(never) applications::delete;
        merchant(manage_webhooks) webhooks::create;
        merchant(view) webhooks::list ? page & limit;
        merchant(view) webhooks::read;
        merchant(manage_webhooks) webhooks::change;
        merchant(manage_webhooks) webhooks::delete;
        merchant(rotate_secrets) rotation::rotate;
        merchant(manage_webhooks) test_delivery::send;
        caller(view) event_types::list;
        public health::live;
        public health::ready;
    }
}

#[cfg(test)]
mod tests {
    use http::{Method, StatusCode};

    use super::*;
    use crate::api::dispatcher_routes;
    use crate::http::error::Error;
    use crate::model::ids::{ApplicationId, MerchantId};
    use crate::model::portal::{Capabilities, Capability, PortalSession, SessionId};
    use crate::model::time::Timestamp;

    const TEMPLATES: [&str; 9] = [
        "/api/v1/applications",
        "/api/v1/applications/{applicationId}",
        "/api/v1/applications/{applicationId}/webhooks",
        "/api/v1/applications/{applicationId}/webhooks/{webhookId}",
        "/api/v1/applications/{applicationId}/webhooks/{webhookId}/rotate",
        "/api/v1/applications/{applicationId}/webhooks/{webhookId}/test",
        "/api/v1/event-types",
        "/healthz",
        "/readyz",
    ];

    #[test]
    fn a_path_has_the_route_whose_template_it_fits() {
        let template = |path: &str| ROUTES.find(path).map(|found| found.route.template());
        for expected in TEMPLATES {
            let filled = expected
                .replace("{applicationId}", "shop")
                .replace("{webhookId}", "1");
            assert_eq!(template(&filled), Some(expected));
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
        let redirect = |method, uri: &str| ROUTES.redirect(&method, &uri.parse().unwrap());
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
        let route = |path| ROUTES.find(path).unwrap().route;
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

    /// A session of each set of capabilities, asked about each operation of both components.
    #[test]
    fn a_session_gets_what_it_is_capable_of_and_nothing_else() {
        let session = |capabilities| PortalSession {
            id: SessionId::generate(),
            application_id: ApplicationId::parse("shop").unwrap(),
            merchant_id: MerchantId::parse("merchant").unwrap(),
            capabilities,
            generation: None,
            expires_at: Timestamp::from_millis(0),
        };
        let mut asked = 0;
        for table in [&*ROUTES, &*dispatcher_routes::ROUTES] {
            for (template, method, needed) in table.capabilities() {
                let filled = template.replace(['{', '}'], "");
                let route = table.find(&filled).unwrap().route;
                let operation = route.operation(&method.parse().unwrap()).unwrap();
                for bits in 0..1 << Capability::ALL.len() {
                    let all = Capability::ALL.iter().enumerate();
                    let some = all.filter(|(number, _)| bits & (1 << number) != 0);
                    let some: Capabilities = some.map(|(_, it)| *it).collect();
                    let expected = match needed {
                        None => Err(Error::Forbidden),
                        Some(needed) if some.has(needed) => Ok(()),
                        Some(needed) => Err(Error::MissingCapability(needed)),
                    };
                    let allowed = operation.check_portal(&session(some));
                    assert_eq!(allowed, expected, "{method} {template} {some}");
                    asked += 1;
                }
            }
        }
        assert!(asked >= 28 * 32, "{asked}");
        // Reading changes nothing, and is no more than `view`, or `viewPayloads`.
        for (template, method, needed) in ROUTES.capabilities() {
            let is_read = needed.is_none_or(|it| it == Capability::View);
            assert!(method != "GET" || is_read, "{template}");
        }
    }
}
