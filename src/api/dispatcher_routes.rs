//! The routes of the dispatcher's component. Each has its method and path in the annotation of its
//! handler; `spin.toml` sends their paths there.

use super::routing::routes;
use super::{delivery_policy, dispatcher_health, events};

routes! {
    /// What `event-dispatcher` answers.
    ROUTES annotated by Annotations {
        caller events::publish;
        caller events::read;
        public delivery_policy::read;
        public dispatcher_health::ready;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_of_the_dispatcher_has_its_route() {
        for template in [
            "/api/v1/applications/{applicationId}/events",
            "/api/v1/applications/{applicationId}/events/{eventId}",
            "/api/v1/delivery-policy",
            "/dispatcher/readyz",
        ] {
            let filled = template
                .replace("{applicationId}", "shop")
                .replace("{eventId}", "evt_1");
            let found = ROUTES.find(&filled).map(|found| found.route.template());
            assert_eq!(found, Some(template));
        }
        assert!(ROUTES.find("/api/v1/applications").is_none());
    }
}
