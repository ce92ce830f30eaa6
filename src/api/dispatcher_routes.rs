//! The routes of the dispatcher's component: those of merchants have their method and path in the
//! annotation of their handler, and docs/operations.md describes the operator's. `spin.toml` sends
//! their paths there.
//!
//! The operator's are here because their figures are the database's too, which only this component
//! has, and because no merchant's request should load what they are made of.

use super::routing::routes;
use super::{
    deliveries, delivery_policy, dispatcher_health, erasure, event_log, events, portal_sessions,
    proof, recoveries, signature_check, webhook_health,
};
use crate::operator;

routes! {
    /// What `event-dispatcher` answers.
    ROUTES annotated by Annotations {
        caller(never) events::publish;
        caller(view) event_log::list ? type & after & before & limit & cursor & idempotencyKey;
        caller(view) event_log::digest ? day;
        caller(view) events::read;
        caller(never) erasure::erase;
        caller(view) deliveries::list ? status & type & after & before & limit & cursor;
        caller(view) deliveries::read;
        merchant(resend) deliveries::resend;
        merchant(resend) recoveries::create;
        caller(view) recoveries::read;
        merchant(resend) recoveries::stop;
        merchant(view) signature_check::verify;
        caller(view_payloads) proof::read;
        public proof::keys;
        caller(view) webhook_health::read ? hours;
        caller(never) portal_sessions::create;
        caller(never) portal_sessions::end;
        anyone portal_sessions::exchange;
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
            "/api/v1/applications/{applicationId}/events/digest",
            "/api/v1/applications/{applicationId}/events/{eventId}",
            "/api/v1/applications/{applicationId}/events/{eventId}/data",
            "/api/v1/applications/{applicationId}/webhooks/{webhookId}/deliveries",
            "/api/v1/applications/{applicationId}/webhooks/{webhookId}/deliveries/{eventId}",
            "/api/v1/applications/{applicationId}/webhooks/{webhookId}/deliveries/{eventId}/resend",
            "/api/v1/applications/{applicationId}/webhooks/{webhookId}/recoveries",
            "/api/v1/applications/{applicationId}/webhooks/{webhookId}/recoveries/{recoveryId}",
            "/api/v1/applications/{applicationId}/webhooks/{webhookId}/verify",
            "/api/v1/applications/{applicationId}/webhooks/{webhookId}/deliveries/{eventId}/proof",
            "/.well-known/jwks.json",
            "/api/v1/applications/{applicationId}/webhooks/{webhookId}/health",
            "/api/v1/delivery-policy",
            "/api/v1/applications/{applicationId}/portal-sessions",
            "/api/v1/portal-sessions/exchange",
            "/dispatcher/readyz",
            "/metrics",
            "/operator/v1/doctor",
            "/operator/v1/reencrypt",
            "/operator/v1/reindex",
        ] {
            let filled = template
                .replace("{applicationId}", "shop")
                .replace("{webhookId}", "hook")
                .replace("{recoveryId}", "rec_1")
                .replace("{eventId}", "evt_1");
            let found = ROUTES.find(&filled).map(|found| found.route.template());
            assert_eq!(found, Some(template));
        }
        assert!(ROUTES.find("/api/v1/applications").is_none());
    }
}
