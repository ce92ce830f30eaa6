//! The routes of the dispatcher's component: those about events have their method and path in the
//! annotation of their handler, and docs/operations.md describes the operator's. `spin.toml` sends
//! their paths there.
//!
//! The operator's are here because their figures are the database's too, which only this component
//! has, and because no merchant's request should load what they are made of.

use super::routing::routes;
use super::{delivery_policy, dispatcher_health, events};
use crate::operator;

routes! {
    /// What `event-dispatcher` answers.
    ROUTES annotated by Annotations {
        caller events::publish;
        caller events::read;
        public delivery_policy::read;
        public dispatcher_health::ready;
    } and {
        operator operator::metrics = GET "/metrics" ? documents;
        operator operator::doctor = POST "/operator/v1/doctor" ? fix;
        operator operator::reencrypt = POST "/operator/v1/reencrypt";
        operator operator::reindex = POST "/operator/v1/reindex";
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
            "/metrics",
            "/operator/v1/doctor",
            "/operator/v1/reencrypt",
            "/operator/v1/reindex",
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
