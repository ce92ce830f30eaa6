//! One connection, opened by one task, closed when it fails, and never waited for too long.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::pending;

use futures::future::join_all;

use super::*;
use crate::events::driver::Call;
use crate::runtime::Instant;
use crate::runtime::simulation::{self, spawn};

const TIMEOUT: Duration = Duration::from_secs(2);

/// What becomes of a call.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Done,
    Refused,
    Broken,
    Hangs,
}

impl Fate {
    async fn come<T>(self, done: T) -> Result<T, Failure> {
        sleep(Duration::from_millis(5)).await;
        match self {
            Self::Done => Ok(done),
            Self::Refused => Err(Failure::Refused("23505 a constraint".to_owned())),
            Self::Broken => Err(Failure::Broken("closed".to_owned())),
            Self::Hangs => pending().await,
        }
    }
}

/// A host whose calls go as they are scripted; the rest are done.
#[derive(Clone, Default)]
struct Host(Rc<State>);

#[derive(Default)]
struct State {
    opens: RefCell<VecDeque<Fate>>,
    statements: RefCell<VecDeque<Fate>>,
    opened: Cell<u32>,
    run: Cell<u32>,
}

impl Host {
    fn connections(opens: &[Fate], statements: &[Fate]) -> (Self, Rc<Connections>) {
        let host = Self::default();
        host.0.opens.borrow_mut().extend(opens);
        host.0.statements.borrow_mut().extend(statements);
        let connections = Connections::new(Box::new(host.clone()), TIMEOUT);
        (host, Rc::new(connections))
    }

    /// How many connections were opened, and how many statements begun.
    fn counts(&self) -> (u32, u32) {
        (self.0.opened.get(), self.0.run.get())
    }
}

impl Driver for Host {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    fn open(&self) -> Call<'_, Rc<dyn Connection>> {
        self.0.opened.set(self.0.opened.get() + 1);
        let fate = self.0.opens.borrow_mut().pop_front();
        let opened = Rc::new(self.clone()) as Rc<dyn Connection>;
        Box::pin(fate.unwrap_or(Fate::Done).come(opened))
    }
}

impl Connection for Host {
    fn query<'a>(&'a self, statement: &'a Statement, _: &'a [Value]) -> Call<'a, Vec<Vec<Value>>> {
        if statement.name == "schema-version" {
            // The tables are there, in whichever version.
            return Box::pin(Fate::Done.come(vec![vec![i64::from(u8::MAX).into()]]));
        }
        self.0.run.set(self.0.run.get() + 1);
        let fate = self.0.statements.borrow_mut().pop_front();
        Box::pin(fate.unwrap_or(Fate::Done).come(Vec::new()))
    }
}

async fn query(connections: &Connections) -> Result<(), Fault> {
    let statement = &Dialect::Sqlite.statements().next_due;
    connections.query(statement, &[]).await.map(drop)
}

fn failed(reason: &str) -> Result<(), Fault> {
    Err(Fault::Dependency(format!(
        "database: next-due failed: {reason}"
    )))
}

fn late() -> Result<(), Fault> {
    let text = "database: next-due took longer than 2000 ms";
    Err(Fault::Timeout(text.to_owned()))
}

#[test]
fn tasks_that_begin_at_once_share_one_connection() {
    let (host, connections) = Host::connections(&[], &[]);
    simulation::run(async {
        let queries = join_all((0..10).map(|_| query(&connections))).await;
        assert_eq!(queries, vec![Ok(()); 10]);
        assert_eq!(query(&connections).await, Ok(()));
        assert_eq!(connections.prepare().await, Ok(()));
    });
    assert_eq!(host.counts(), (1, 11));
}

#[test]
fn a_statement_that_is_refused_is_not_repeated_and_the_connection_stays() {
    let (host, connections) = Host::connections(&[], &[Fate::Refused]);
    simulation::run(async {
        assert_eq!(query(&connections).await, failed("23505 a constraint"));
        assert_eq!(query(&connections).await, Ok(()));
    });
    assert_eq!(host.counts(), (1, 2));
}

#[test]
fn a_kept_connection_that_broke_is_opened_anew_and_the_statement_repeated_once() {
    let statements = [
        Fate::Done,
        Fate::Broken,
        Fate::Done,
        Fate::Broken,
        Fate::Broken,
    ];
    let (host, connections) = Host::connections(&[], &statements);
    simulation::run(async {
        assert_eq!(query(&connections).await, Ok(()));
        assert_eq!(query(&connections).await, Ok(()));
        assert_eq!(host.counts(), (2, 3));
        assert_eq!(query(&connections).await, failed("closed"));
        assert_eq!(host.counts(), (3, 5));
        // What broke on a new connection as well is opened anew by the next statement.
        assert_eq!(query(&connections).await, Ok(()));
    });
    assert_eq!(host.counts(), (4, 6));
}

#[test]
fn a_statement_on_a_new_connection_is_not_repeated() {
    let (host, connections) = Host::connections(&[], &[Fate::Broken]);
    simulation::run(async {
        assert_eq!(query(&connections).await, failed("closed"));
    });
    assert_eq!(host.counts(), (1, 1));
}

#[test]
fn a_statement_that_hangs_ends_in_time_and_its_connection_is_used_no_more() {
    let (host, connections) = Host::connections(&[], &[Fate::Done, Fate::Hangs]);
    simulation::run(async {
        assert_eq!(query(&connections).await, Ok(()));
        let begun = Instant::now();
        assert_eq!(query(&connections).await, late());
        assert_eq!(begun.elapsed(), TIMEOUT);
        assert_eq!(query(&connections).await, Ok(()));
    });
    assert_eq!(host.counts(), (2, 3));
}

#[test]
fn an_opening_that_hangs_stops_nobody_for_longer_than_its_time() {
    let (host, connections) = Host::connections(&[Fate::Hangs], &[]);
    simulation::run(async {
        let first = connections.clone();
        spawn(async move { assert_eq!(query(&first).await, late()) });
        sleep(Duration::from_millis(100)).await;
        // It waits for the first one's opening, and takes over when that is given up.
        assert_eq!(query(&connections).await, Ok(()));
    });
    assert_eq!(host.counts(), (2, 1));
}

#[test]
fn an_opening_that_fails_is_reported_and_tried_again_by_the_next() {
    let (host, connections) = Host::connections(&[Fate::Broken, Fate::Refused], &[]);
    simulation::run(async {
        assert_eq!(query(&connections).await, failed("closed"));
        assert_eq!(query(&connections).await, failed("23505 a constraint"));
        assert_eq!(query(&connections).await, Ok(()));
    });
    assert_eq!(host.counts(), (3, 1));
}

#[test]
fn a_failure_is_one_line_without_a_stack() {
    let text = "no connection: error connecting\n\nCaused by:\n    0: refused\n\nStack backtrace:\n   0: anyhow";
    let line = "no connection: error connecting Caused by: 0: refused".to_owned();
    assert_eq!(Failure::broken(text), Failure::Broken(line));
}
