//! How the databases find what a statement asks for: never by looking at a whole table.

use serde_json::json;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::*;
use crate::events::database::{DeliveriesPage, EventsPage, LogRange, MAX_READ, MAX_SCANNED};
use crate::events::statements::Dialect;
use crate::events::value::Value;

const TABLES: [&str; 7] = [
    "events",
    "deliveries",
    "attempts",
    "fan_outs",
    "recoveries",
    "recovery_items",
    "portal_codes",
];

/// Which index each part of the log is a range of.
const RANGES: [(&str, &str); 12] = [
    ("events-page", "events_application"),
    ("events-scanned", "events_application"),
    ("event-with-key", "events_idempotency"),
    ("hashes", "events_application"),
    ("deliveries-page", "deliveries_webhook"),
    ("succeeded-page", "deliveries_webhook"),
    ("deliveries-scanned", "deliveries_webhook"),
    ("pending-page", "deliveries_pending"),
    ("pending-scanned", "deliveries_pending"),
    ("unsuccessful-page", "deliveries_unsuccessful"),
    ("unsuccessful-scanned", "deliveries_unsuccessful"),
    ("application-of", "deliveries_webhook"),
];

/// The statement of that name.
fn statement(dialect: Dialect, name: &str) -> &'static str {
    let mut all = dialect.statements().all().into_iter();
    let statement = all.find(|statement| statement.name == name);
    &statement.expect("a statement").sql
}

#[test]
fn sqlite_reads_a_range_of_one_index_for_a_page() {
    let memory = Memory::default();
    simulation::run(async {
        let prepared = memory.scheduled(Vec::new());
        prepared.prepare().await.expect("the tables");
    });
    for (name, index) in RANGES {
        let sql = statement(Dialect::Sqlite, name);
        let plan = memory.rows(&format!("EXPLAIN QUERY PLAN {sql}"));
        let steps = plan.iter().filter_map(|row| match row.last() {
            Some(Value::Text(step)) => Some(step.as_str()),
            _ => None,
        });
        let steps: Vec<&str> = steps.collect();
        let used = format!("INDEX {index} (");
        if ["events-page", "deliveries-page"].contains(&name) {
            let covering = format!("COVERING {used}");
            assert!(
                steps.iter().any(|step| step.contains(&covering)),
                "{name}: {steps:?}"
            );
        }
        let ranges: Vec<_> = steps.iter().filter(|step| step.contains(&used)).collect();
        assert_eq!(ranges.len(), 1, "{name}: {steps:?}");
        let is_bounded =
            ["event-with-key", "application-of"].contains(&name) || ranges[0].contains("id>? AND ");
        assert!(is_bounded, "{name}: {steps:?}");
    }
}

/// How PostgreSQL finds what a statement asks for, if it has any choice but to look at whole tables.
async fn postgres_plan(client: &Client, sql: &str) -> String {
    let count = (1..)
        .take_while(|number| sql.contains(&format!("${number}")))
        .count();
    let nulls = match count {
        0 => String::new(),
        count => format!("({})", vec!["NULL"; count].join(", ")),
    };
    let script = format!(
        "SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan;
         PREPARE planned AS {sql}; EXPLAIN EXECUTE planned{nulls}; DEALLOCATE planned"
    );
    let messages = client.simple_query(&script).await.expect(sql);
    let steps = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    steps.collect::<Vec<_>>().join("\n")
}

#[test]
fn postgres_reads_a_range_of_one_index_for_a_page() {
    let name = concat!(
        module_path!(),
        "::postgres_reads_a_range_of_one_index_for_a_page"
    );
    postgres::run_on_new(name, async |database| {
        database.connect().prepare().await.expect("the tables");
        let client = database.client().await;
        for (name, index) in RANGES {
            let plan = postgres_plan(&client, statement(Dialect::Postgres, name)).await;
            let used = format!("using {index} on ");
            assert!(plan.contains(&used), "{name}: {plan}");
            let is_bounded =
                ["event-with-key", "application-of"].contains(&name) || plan.contains("id < $3))");
            assert!(is_bounded, "{name}: {plan}");
        }
    });
}

#[test]
fn sqlite_scans_no_table() {
    let memory = Memory::default();
    simulation::run(async {
        let prepared = memory.scheduled(Vec::new());
        prepared.prepare().await.expect("the tables");
    });
    for statement in Dialect::Sqlite.all() {
        let plan = memory.rows(&format!("EXPLAIN QUERY PLAN {}", statement.sql));
        for row in plan {
            let Some(Value::Text(step)) = row.last() else {
                panic!("{row:?}");
            };
            let Some(scanned) = step.strip_prefix("SCAN ") else {
                continue;
            };
            let name = scanned.split_whitespace().next().unwrap_or_default();
            let is_table = TABLES.contains(&name) || ["d", "e", "a", "l", "i", "r"].contains(&name);
            // The first entry of an index is all that is read of it there.
            let is_first = statement.name == "next-due" && scanned.contains("USING COVERING INDEX");
            // That index has what is counted, and nothing else.
            let is_first = is_first
                || statement.name == "recovery-gauges" && scanned.contains("recoveries_active");
            let is_list = scanned.contains("VIRTUAL TABLE");
            assert!(
                !is_table || is_first || is_list,
                "{}: {step}",
                statement.name
            );
        }
    }
}

#[test]
fn sqlite_prepares_no_statement_anew_for_other_parameters() {
    let memory = Memory::default();
    simulation::run(async {
        let prepared = memory.scheduled(Vec::new());
        prepared.prepare().await.expect("the tables");
    });
    let all = Dialect::Sqlite.all();
    let anew = all.filter(|statement| memory.prepares_anew(&statement.sql));
    let names: Vec<&str> = anew.map(|statement| statement.name).collect();
    assert_eq!(names, [""; 0]);
}

#[test]
fn postgres_scans_no_table() {
    let name = concat!(module_path!(), "::postgres_scans_no_table");
    postgres::run_on_new(name, async |database| {
        database.connect().prepare().await.expect("the tables");
        let client = database.client().await;
        for statement in Dialect::Postgres.all() {
            let plan = postgres_plan(&client, &statement.sql).await;
            for table in TABLES {
                let scan = format!("Seq Scan on {table}");
                assert!(!plan.contains(&scan), "{}: {plan}", statement.name);
            }
        }
    });
}

/// The functions, called for an event.
fn calls(event: &str) -> [String; 5] {
    let delivery = |webhook| {
        json!({
            "webhook": webhook, "status": "pending", "attempts": 1, "due": 0, "next": 0,
            "claim": "token", "giveUp": 100, "created": 0,
        })
    };
    let record = |webhook| {
        json!({
            "event": event, "webhook": webhook, "token": "token", "number": 2, "kind": "scheduled",
            "trigger": "schedule", "started": 1, "duration": 1, "url": "", "fingerprints": "",
            "truncated": 0, "status": "succeeded", "step": 2, "completed": 2,
        })
    };
    let deliveries = json!([delivery("one"), delivery("two")]);
    let records = json!([record("one"), record("two")]);
    let settled = json!([event]);
    [
        format!(
            "webhooks_publish_4('{event}', 'shop', 'type', '{{}}', 0, 0, NULL, NULL, NULL, 2, '', 0,
               '{deliveries}')"
        ),
        "webhooks_claim_4('token', 50, 10, 10, 10, '[]', 1, 40, '{}')".to_owned(),
        format!("webhooks_record_4('{records}')"),
        "webhooks_claim_fan_outs_4(10, 20, 10)".to_owned(),
        format!("webhooks_settle_4('{settled}')"),
    ]
}

#[test]
fn a_function_whose_plan_was_made_on_empty_tables_reads_few_pages_of_large_ones() {
    let name = concat!(
        module_path!(),
        "::a_function_whose_plan_was_made_on_empty_tables_reads_few_pages_of_large_ones"
    );
    postgres::run_on_new(name, async |database| {
        database.connect().prepare().await.expect("the tables");
        let client = database.client().await;
        // Often enough for PostgreSQL to keep a plan that is good for any parameters.
        for number in 0..12 {
            for call in calls(&format!("early-{number}")) {
                let sql = format!("SELECT * FROM {call}");
                client.batch_execute(&sql).await.expect(&sql);
            }
        }
        let grow = "INSERT INTO events (id, application_id, type, occurred_at, created_at, size_bytes,
               sha256, body)
             SELECT 'event-' || n, 'shop', 'type', 0, 0, 2, '', '{}' FROM generate_series(1, 10000) AS n;
             INSERT INTO deliveries (event_id, webhook_id, application_id, type, status, attempts, step,
               retry, due_at, next_at, give_up_at, created_at)
             SELECT 'event-' || n, w, 'shop', 'type', 'pending', 1, 1, n % 2, n % 20, n % 20, 100, 0
             FROM generate_series(1, 10000) AS n, unnest(ARRAY['one', 'two']) AS w;
             INSERT INTO fan_outs (event_id, application_id, type, created_at, due_at)
             SELECT 'event-' || n, 'shop', 'type', 0, n % 20 FROM generate_series(1, 10000) AS n";
        client.batch_execute(grow).await.expect("more rows");
        for call in calls("late") {
            let sql = format!("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM {call}");
            let row = client.query_one(&sql, &[]).await.expect(&sql);
            let report: serde_json::Value = row.get(0);
            let pages = ["Shared Hit Blocks", "Shared Read Blocks"]
                .map(|pages| report[0]["Plan"][pages].as_u64().expect("a number"));
            assert!(pages.iter().sum::<u64>() < 2000, "{call}: {pages:?}");
        }
    });
}

/// Fills the log of the shop and of its first webhook.
fn fill(memory: &Memory, number: u32) {
    memory.rows(&format!(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {number})
         INSERT INTO events (id, application_id, type, occurred_at, created_at, size_bytes, sha256, body)
         SELECT printf('evt_0190%08x70008000000000000000', n), 'shop', 'common', 0, 0, 2, '', '{{}}' FROM n"
    ));
    memory.rows(&format!(
        "INSERT INTO deliveries (event_id, webhook_id, application_id, type, status, attempts, step,
           retry, give_up_at, created_at)
         SELECT id, '{}', 'shop', type, 'failed', 1, 1, 1, 0, 0 FROM events",
        hook(1)
    ));
}

#[test]
fn a_filter_looks_at_so_many_entries_for_a_page_and_goes_on_there() {
    let memory = Memory::default();
    let database = memory.scheduled(Vec::new());
    simulation::run(async {
        database.prepare().await.expect("the tables");
        fill(&memory, MAX_SCANNED + 5);
        let range = LogRange {
            limit: 10,
            ..LogRange::default()
        };
        let mut events = EventsPage {
            range: range.clone(),
            event_type: Some(event_type("rare")),
            idempotency_key: None,
        };
        let first = database.events(&shop(), &events).await.unwrap();
        assert!(first.items.is_empty());
        let oldest = first.next.expect("another page");
        assert_eq!(
            oldest.to_string(),
            format!("evt_0190{:08x}70008000000000000000", 6)
        );
        events.range.cursor = Some(oldest);
        let second = database.events(&shop(), &events).await.unwrap();
        assert_eq!((second.items, second.next), (Vec::new(), None));

        for (status, looked_at) in [
            (None, MAX_SCANNED),
            (Some("succeeded"), MAX_READ),
            (Some("failed"), MAX_READ),
        ] {
            let mut deliveries = DeliveriesPage {
                range: range.clone(),
                status: status.and_then(crate::model::delivery::DeliveryStatus::parse),
                event_type: Some(event_type("rare")),
            };
            let first = database.deliveries(hook(1), &deliveries).await.unwrap();
            assert!(first.items.is_empty());
            let last = format!(
                "evt_0190{:08x}70008000000000000000",
                MAX_SCANNED + 6 - looked_at
            );
            let next = first.next.map(|next| next.to_string());
            assert_eq!(next, Some(last), "{status:?}");
            // And so on, to the end.
            let mut pages = 1;
            deliveries.range.cursor = first.next;
            while deliveries.range.cursor.is_some() {
                let page = database.deliveries(hook(1), &deliveries).await.unwrap();
                assert!(page.items.is_empty());
                deliveries.range.cursor = page.next;
                pages += 1;
            }
            assert_eq!(pages, (MAX_SCANNED + 5).div_ceil(looked_at), "{status:?}");
        }
    });
}
