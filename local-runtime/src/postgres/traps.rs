//! Tests: the traps of Spin's PostgreSQL are the local runtime's too. They start a server of their own.

use std::time::Duration;

use tokio::time::timeout;

use super::client::Rows;
use super::pool::{Client, Limit, Pools};
use super::{Builder, Postgres, servers};
use crate::allowed_hosts::AllowedHosts;
use crate::bindings::spin::postgres::postgres::{
    DbDataType, DbValue, Error, ParameterValue, QueryError,
};
use crate::instruments::Instruments;

#[path = "../../../tests/http/support/postgres.rs"]
#[allow(dead_code)]
pub(super) mod cluster;
#[path = "../../../tests/http/support/report.rs"]
#[allow(dead_code)]
pub(super) mod report;

/// Long enough for what happens, too short for what does not.
const MOMENT: Duration = Duration::from_millis(300);

/// A new database; where there is no server, ends the test and reports it.
macro_rules! database {
    () => {
        match cluster::Postgres::shared() {
            Some(server) => server.database(),
            None => {
                fn here() {}
                report::server_missing(std::any::type_name_of_val(&here));
                return;
            }
        }
    };
}

fn pools() -> Pools {
    Pools::new(Limit::default())
}

async fn execute(client: &Client, statement: &str) -> u64 {
    let changed = client.execute_with(statement, Vec::new()).await;
    changed.unwrap_or_else(|error| panic!("{statement}: {error:?}"))
}

async fn query(client: &Client, statement: &str) -> Rows {
    let rows = client.query_with(statement, Vec::new()).await;
    rows.unwrap_or_else(|error| panic!("{statement}: {error:?}"))
}

/// The rows of a query, as the SDK's `collect()` returns them.
async fn collect(client: &Client, statement: &str) -> Result<Vec<Vec<DbValue>>, Error> {
    let mut answer = client.query_with(statement, Vec::new()).await?;
    let mut rows = Vec::new();
    while let Some(row) = answer.rows.recv().await {
        rows.push(row);
    }
    answer.end.await.expect("an end")?;
    Ok(rows)
}

async fn count(client: &Client, table: &str) -> i64 {
    let rows = collect(client, &format!("SELECT count(*) FROM {table}")).await;
    match rows.unwrap()[0][0] {
        DbValue::Int64(count) => count,
        ref other => panic!("{other:?}"),
    }
}

/// The code of an error that the server reported; `None` for any other.
fn code(error: &Error) -> Option<&str> {
    match error {
        Error::QueryFailed(QueryError::DbError(error)) => Some(&error.code),
        _ => None,
    }
}

#[tokio::test]
async fn a_connection_goes_back_to_the_pool_inside_its_transaction() {
    let database = database!();
    let (pools, others) = (pools(), pools());
    let other = others.get(&database.url, None).await.unwrap();
    let client = pools.get(&database.url, None).await.unwrap();
    execute(&client, "CREATE TABLE t (n bigint)").await;
    execute(&client, "BEGIN").await;
    drop(client);
    let next = pools.get(&database.url, None).await.unwrap();
    assert_eq!(execute(&next, "INSERT INTO t VALUES (1)").await, 1);
    assert_eq!(count(&other, "t").await, 0, "nobody sees it");
    execute(&next, "COMMIT").await;
    assert_eq!(count(&other, "t").await, 1);
}

#[tokio::test]
async fn the_sixty_fifth_connection_waits() {
    let database = database!();
    let pools = pools();
    let mut held = Vec::new();
    for _ in 0..64 {
        held.push(pools.get(&database.url, None).await.unwrap());
    }
    let one_more = pools.get(&database.url, None);
    assert!(timeout(MOMENT, one_more).await.is_err());
    // Another component has a pool of its own.
    self::pools().get(&database.url, None).await.unwrap();
    held.pop();
    pools.get(&database.url, None).await.unwrap();
}

#[tokio::test]
async fn max_connections_limits_all_components_together() {
    let database = database!();
    let limit = Limit::new(Some(1));
    let (one, other) = (Pools::new(limit.clone()), Pools::new(limit));
    let held = one.get(&database.url, None).await.unwrap();
    assert!(
        timeout(MOMENT, other.get(&database.url, None))
            .await
            .is_err()
    );
    drop(held);
    other.get(&database.url, None).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_died_stays_dead_and_a_new_one_works() {
    let Some(server) = cluster::Postgres::start() else {
        fn here() {}
        report::server_missing(std::any::type_name_of_val(&here));
        return;
    };
    let database = server.database();
    let pools = pools();
    let held = pools.get(&database.url, None).await.unwrap();
    execute(&held, "CREATE TABLE t (n bigint)").await;
    execute(&held, "INSERT INTO t VALUES (1)").await;
    server.stop();
    let refused = pools.get(&database.url, None).await;
    assert!(refused.is_err(), "nobody listens");
    server.start_again();
    for _ in 0..2 {
        let error = held.execute_with("SELECT 1", Vec::new()).await.unwrap_err();
        let lost = matches!(error, Error::QueryFailed(QueryError::Text(_)));
        assert!(lost, "no error of the server's: {error:?}");
    }
    let new = pools.get(&database.url, None).await.unwrap();
    assert_eq!(count(&new, "t").await, 1);
}

#[tokio::test]
async fn a_statement_runs_to_its_end_though_its_caller_is_gone() {
    let database = database!();
    let client = pools().get(&database.url, None).await.unwrap();
    execute(&client, "CREATE TABLE t (n bigint)").await;
    let since = tokio::time::Instant::now();
    let slow = "INSERT INTO t SELECT 1 FROM pg_sleep(1)";
    assert!(
        timeout(MOMENT, client.execute_with(slow, Vec::new()))
            .await
            .is_err()
    );
    // The next statement of the connection waits for it.
    assert_eq!(count(&client, "t").await, 1);
    assert!(since.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn more_than_four_unread_rows_have_no_end() {
    let database = database!();
    let client = pools().get(&database.url, None).await.unwrap();
    let four = query(&client, "SELECT generate_series(1, 4)").await;
    timeout(MOMENT, four.end)
        .await
        .expect("an end")
        .unwrap()
        .unwrap();
    let mut five = query(&client, "SELECT generate_series(1, 5)").await;
    assert!(timeout(MOMENT, &mut five.end).await.is_err());
    drop(five.rows);
    five.end.await.unwrap().unwrap();
}

#[tokio::test]
async fn without_a_row_there_are_no_columns() {
    let database = database!();
    let client = pools().get(&database.url, None).await.unwrap();
    let none = query(&client, "SELECT 1::bigint AS n WHERE false").await;
    assert!(none.columns.is_empty());
    let one = query(&client, "SELECT 1::bigint AS n").await;
    assert_eq!(one.columns[0].name, "n");
    assert!(matches!(one.columns[0].data_type, DbDataType::Int64));
}

#[tokio::test]
async fn what_the_server_reports_has_a_code_wherever_it_comes() {
    let database = database!();
    let client = pools().get(&database.url, None).await.unwrap();
    execute(&client, "CREATE TABLE t (id text PRIMARY KEY)").await;
    execute(&client, "INSERT INTO t VALUES ('a')").await;
    let again = "INSERT INTO t VALUES ('a') RETURNING id";
    let executed = client.execute_with(again, Vec::new()).await.unwrap_err();
    assert_eq!(code(&executed), Some("23505"));
    // A query reports it at its end.
    let queried = query(&client, again).await.end.await.unwrap();
    assert_eq!(code(&queried.unwrap_err()), Some("23505"));
    // A statement that cannot be prepared never gets there; several statements cannot.
    for statement in ["SELECT nothing", "SELECT 1; SELECT 2"] {
        let error = client
            .query_with(statement, Vec::new())
            .await
            .err()
            .unwrap();
        assert!(code(&error).is_some(), "{statement}: {error:?}");
    }
}

#[tokio::test]
async fn values_go_both_ways() {
    let database = database!();
    let client = pools().get(&database.url, None).await.unwrap();
    let parameters = vec![
        ParameterValue::Boolean(true),
        ParameterValue::Int64(i64::MIN),
        ParameterValue::Str("ä".to_owned()),
        ParameterValue::Binary(vec![0, 255]),
        ParameterValue::ArrayStr(vec![Some("a,\"b".to_owned()), None]),
        ParameterValue::DbNull,
        ParameterValue::Str(r#"{"b": 1,  "a": "x"}"#.to_owned()),
        ParameterValue::Jsonb(br#"{"b": 1,  "a": "x"}"#.to_vec()),
    ];
    let statement = "SELECT $1::bool, $2::bigint, $3::text, $4::bytea, $5::text[], $6::text,
                     $7::text, $7::text::jsonb, $8::jsonb";
    let mut answer = client.query_with(statement, parameters).await.unwrap();
    let row = answer.rows.recv().await.unwrap();
    let text = |text: &str| DbValue::Str(text.to_owned());
    let json = || DbValue::Jsonb(br#"{"a":"x","b":1}"#.to_vec());
    let expected = vec![
        DbValue::Boolean(true),
        DbValue::Int64(i64::MIN),
        text("ä"),
        DbValue::Binary(vec![0, 255]),
        DbValue::ArrayStr(vec![Some("a,\"b".to_owned()), None]),
        DbValue::DbNull,
        text(r#"{"b": 1,  "a": "x"}"#),
        json(),
        json(),
    ];
    assert_eq!(format!("{row:?}"), format!("{expected:?}"));
}

#[tokio::test]
async fn what_does_not_convert_is_an_error() {
    let database = database!();
    let client = pools().get(&database.url, None).await.unwrap();
    for statement in ["SELECT now()", "SELECT now()::date", "SELECT 1::numeric"] {
        assert!(collect(&client, statement).await.is_err(), "{statement}");
    }
    for (statement, parameter) in [
        // An integer is of the type that the server infers, and no other.
        ("SELECT $1::bigint", ParameterValue::Int32(1)),
        ("SELECT $1::int", ParameterValue::Int64(1)),
        ("SELECT $1::jsonb", ParameterValue::Str("{}".to_owned())),
        ("SELECT $1::text", ParameterValue::Str("a\0b".to_owned())),
        ("SELECT $1::timestamptz", ParameterValue::Timestamp(0)),
    ] {
        let result = client.execute_with(statement, vec![parameter]).await;
        assert!(result.is_err(), "{statement}: {result:?}");
    }
}

#[tokio::test]
async fn without_tls_on_the_server_only_require_fails() {
    let database = database!();
    let with = |mode| database.url.replace("sslmode=disable", mode);
    pools().get(&with("sslmode=prefer"), None).await.unwrap();
    assert!(pools().get(&with("sslmode=require"), None).await.is_err());
    // The driver knows no more modes.
    assert!(
        pools()
            .get(&with("sslmode=verify-full"), None)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_component_connects_to_allowed_hosts_only() {
    let database = database!();
    let connect = async |host: &str| {
        let allowed = AllowedHosts::parse(&[host.to_owned()]).unwrap();
        let postgres = Postgres::new(allowed.into(), Limit::default(), Instruments::default());
        let builder = Builder::new(database.url.clone());
        postgres.connect(builder).await.unwrap().map(drop)
    };
    connect(&database.host).await.unwrap();
    connect("postgres://*:*").await.unwrap();
    for host in [
        "https://*:*",
        "postgres://127.0.0.1",
        "postgres://db.example.com:*",
    ] {
        let error = connect(host).await.unwrap_err();
        assert!(matches!(&error, Error::ConnectionFailed(_)), "{error:?}");
        assert!(
            !format!("{error:?}").contains(cluster::PASSWORD),
            "{error:?}"
        );
    }
}

#[test]
fn every_server_of_an_address_counts() {
    let servers = |address: &str| servers(address).map_err(|_| ());
    let one = ["db.example.com:5433".to_owned()];
    assert_eq!(
        servers("postgres://u:p@db.example.com:5433/d").unwrap(),
        one
    );
    assert_eq!(servers("host=db.example.com").unwrap(), ["db.example.com"]);
    let two = servers("postgres://u:p@a.example.com:1,b.example.com:2/d").unwrap();
    assert_eq!(two, ["a.example.com:1", "b.example.com:2"]);
    let two = servers("host=a.example.com,b.example.com port=7").unwrap();
    assert_eq!(two, ["a.example.com:7", "b.example.com:7"]);
    assert!(servers("host=/run/postgresql").is_err());
    assert!(servers("postgres://db.example.com:port/").is_err());
}
