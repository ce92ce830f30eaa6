//! Databases that earlier releases made: they get what they lack, and what is in them goes on.

use super::*;
use crate::events::database::PortalCodes;
use crate::events::schema;
use crate::events::statements::Dialect;

/// What the first release left of an event: its delivery failed once, and is due again.
fn rows(id: EventId) -> [String; 2] {
    let webhook = hook(1);
    [
        format!(
            "INSERT INTO events (id, application_id, type, occurred_at, created_at, size_bytes, sha256,
               body)
             VALUES ('{id}', 'shop', 'session.completed', {BEGIN}, {BEGIN}, 2, '', '{{}}')"
        ),
        format!(
            "INSERT INTO deliveries (event_id, webhook_id, application_id, type, status, attempts, step,
               retry, due_at, next_at, give_up_at, created_at)
             VALUES ('{id}', '{webhook}', 'shop', 'session.completed', 'pending', 1, 1, 1, {BEGIN},
               {BEGIN}, {BEGIN} + 300000000, {BEGIN})"
        ),
    ]
}

async fn goes_on(database: &SqlDatabase, id: EventId) {
    let claimed = claim_one(database, 1).await;
    assert_eq!((claimed.held.key.event_id, claimed.held.number), (id, 2));
    recorded(database, &claimed, Outcome::Succeeded, 1).await;
    assert_eq!(status(database, id, 1).await, DeliveryStatus::Succeeded);
    assert_eq!(
        database.next_due().await.map(|next| next.recovery),
        Ok(None)
    );
    // And the tables that came later.
    assert_eq!(database.forget_codes(at(1), 1).await, Ok(0));
}

#[test]
fn a_file_of_the_first_release_goes_on() {
    let memory = Memory::default();
    let id = EventId::generate(at(0));
    for sql in schema::script(Dialect::Sqlite, 1)
        .into_iter()
        .chain(rows(id))
    {
        memory.rows(&sql);
    }
    let database = memory.scheduled(Vec::new());
    simulation::run(async { goes_on(&database, id).await });
    let versions = memory.rows("SELECT max(version) >= 2 FROM events_schema");
    assert_eq!(versions, [[1_i64.into()]]);
}

#[test]
fn a_server_of_the_first_release_goes_on() {
    let name = concat!(module_path!(), "::a_server_of_the_first_release_goes_on");
    postgres::run_on_new(name, async |database| {
        let client = database.client().await;
        let id = EventId::generate(at(0));
        let script = schema::script(Dialect::Postgres, 1).into_iter();
        for sql in script.chain(rows(id)) {
            client.batch_execute(&sql).await.expect(&sql);
        }
        goes_on(&database.connect(), id).await;
    });
}
