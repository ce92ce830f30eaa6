//! Which component a path leads to: the manifest's routes, by the router that Spin has too.
//!
//! Segment by segment from the left an exact one wins over a `:name`, and that over the `/...` at the
//! end. Slashes at either end of the path do not count.

use anyhow::anyhow;
use routefinder::Router;

/// The routes of an application.
pub struct Routes<H>(Router<H>);

impl<H> Routes<H> {
    /// Reads the routes. Of two that are spelled the same the last one counts.
    ///
    /// # Errors
    ///
    /// One line that names a malformed route.
    pub fn new(routes: impl IntoIterator<Item = (String, H)>) -> anyhow::Result<Self> {
        let mut last: Vec<(String, H)> = Vec::new();
        for (route, handler) in routes {
            match last.iter_mut().find(|(known, _)| *known == route) {
                Some((_, replaced)) => *replaced = handler,
                None => last.push((route, handler)),
            }
        }
        let mut router = Router::new();
        for (route, handler) in last {
            let spec = match route.strip_suffix("/...") {
                Some(prefix) => format!("{prefix}/*"),
                None => route.clone(),
            };
            router
                .add(spec, handler)
                .map_err(|error| anyhow!("the route {route} is malformed: {error}"))?;
        }
        Ok(Self(router))
    }

    /// What the route has that fits the path best.
    pub fn find(&self, path: &str) -> Option<&H> {
        self.0.best_match(path).map(|found| found.handler())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(routes: &[&'static str], path: &str) -> Option<&'static str> {
        let routes = routes.iter().map(|route| ((*route).to_owned(), *route));
        Routes::new(routes).unwrap().find(path).copied()
    }

    #[test]
    fn routes_match_as_in_spin() {
        let matches = |route: &'static str, path: &str| find(&[route], path).is_some();
        assert!(matches("/...", "/"));
        assert!(matches("/...", "/a/b"));
        assert!(matches("/docs/...", "/docs"));
        assert!(matches("/docs/...", "/docs/x"));
        assert!(!matches("/docs/...", "/docsx"));
        assert!(matches("/a", "/a"));
        assert!(matches("/a", "/a/"));
        assert!(!matches("/a", "/a/b"));
    }

    #[test]
    fn a_name_stands_for_one_segment() {
        let matches = |route: &'static str, path: &str| find(&[route], path).is_some();
        assert!(matches("/a/:id/events", "/a/1/events"));
        // A trap of Spin: it may be empty.
        assert!(matches("/a/:id/events", "/a//events"));
        assert!(!matches("/a/:id/events", "/a/1/2/events"));
        assert!(matches("/a/:id", "/a/x.y"));
        assert!(matches("/a/:id/events/...", "/a/1/events"));
        assert!(matches("/a/:id/events/...", "/a/1/events/2/data"));
        assert!(!matches("/a/:id/events/...", "/a/1/eventses"));
    }

    #[test]
    fn the_more_exact_route_wins_in_whichever_order_they_stand() {
        let mut routes = [
            "/...",
            "/docs/...",
            "/api/v1/applications/:id/events",
            "/api/v1/applications/:id/events/...",
            "/api/v1/applications/:id/webhooks/:webhook/deliveries/...",
            "/api/v1/delivery-policy",
            "/dispatcher/readyz",
        ];
        let cases = [
            (
                "/api/v1/applications/a/events",
                "/api/v1/applications/:id/events",
            ),
            (
                "/api/v1/applications/a/events/",
                "/api/v1/applications/:id/events",
            ),
            (
                "/api/v1/applications/a/events/e",
                "/api/v1/applications/:id/events/...",
            ),
            ("/api/v1/applications/a/webhooks/w", "/..."),
            ("/api/v1/applications/events", "/..."),
            (
                "/api/v1/applications/a/webhooks/w/deliveries",
                "/api/v1/applications/:id/webhooks/:webhook/deliveries/...",
            ),
            (
                "/api/v1/applications/a/webhooks/w/deliveries/e/resend",
                "/api/v1/applications/:id/webhooks/:webhook/deliveries/...",
            ),
            ("/api/v1/delivery-policy", "/api/v1/delivery-policy"),
            ("/dispatcher/readyz", "/dispatcher/readyz"),
            ("/dispatcher", "/..."),
            ("/docs", "/docs/..."),
        ];
        for _ in 0..routes.len() {
            routes.rotate_left(1);
            for (path, route) in cases {
                assert_eq!(find(&routes, path), Some(route), "{path} in {routes:?}");
            }
        }
    }

    #[test]
    fn of_two_equal_routes_the_last_counts_and_a_malformed_one_is_named() {
        let routes = [("/a", 1), ("/b", 2), ("/a", 3)];
        let routes = Routes::new(routes.map(|(route, it)| (route.to_owned(), it))).unwrap();
        assert_eq!(routes.find("/a"), Some(&3));
        let malformed = Routes::new([("/a/:".to_owned(), ())]).err().unwrap();
        assert!(malformed.to_string().contains("/a/:"), "{malformed}");
    }
}
