//! What an instance adds to an index it looks for together: that loses nobody, and takes few operations.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::*;

proptest! {
    #![proptest_config(schedules())]

    /// Three processes create webhooks in one application for three seconds, so that some come while others
    /// are looked for, often or seldom: two seconds after the last one the list has all, as long as no
    /// operation takes longer than 40 ms.
    #[test]
    fn creates_that_share_their_looks_all_come_to_the_list(
        fates in delays(3, 40),
        starts in prop::collection::vec(prop::collection::vec(0..3000_u64, 1..5), 3),
    ) {
        let memory = memory();
        let stores: Vec<_> = fates.into_iter().map(|fates| memory.scheduled(fates)).collect();
        simulation::run(async {
            let creates = stores.iter().zip(&starts).flat_map(|(store, starts)| {
                starts.iter().map(move |start| async move {
                    sleep(Duration::from_millis(*start)).await;
                    create_webhook(store, None).await
                })
            });
            let answers = join_all(creates).await;
            prop_assert!(answers.iter().all(|answer| answer.status == 201));
            sleep(SETTLED).await;
            let created: BTreeSet<String> = answers.iter().map(Answer::id).collect();
            prop_assert_eq!(listed(&calm(&memory), WEBHOOKS).await, created);
            Ok(())
        })?;
    }
}

/// Where nobody else adds, an index is looked at twice: a moment after the write, and when no request is under
/// way any more that began before it.
#[test]
fn a_create_that_meets_nobody_is_looked_for_twice() {
    let memory = memory();
    let looks = Rc::new(RefCell::new(Vec::new()));
    let seen = looks.clone();
    let store = memory.process(move |operation, key| {
        if key.starts_with("webhooks/") {
            seen.borrow_mut()
                .push((operation.to_owned(), Timestamp::now()));
        }
        Fate::default()
    });
    simulation::run(async {
        assert_eq!(create_webhook(&store, None).await.status, 201);
        let ended = Timestamp::now();
        let before = looks.take();
        sleep(Duration::from_secs(60)).await;
        let looks = looks.take();
        let operations: Vec<_> = [before, looks.clone()]
            .concat()
            .into_iter()
            .map(|(operation, _)| operation)
            .collect();
        assert_eq!(operations, ["get", "set", "get", "get"]);
        let after = |look: usize| looks[look].1.distance(ended);
        assert!(after(0) < Duration::from_secs(1), "{:?}", after(0));
        let timeout = CONFIG.store_timeout;
        assert!(after(1) >= timeout && after(1) < timeout + SETTLED);
    });
}

/// Forty creates of two seconds: their instance reads the index some forty times at most, and
/// not forty times four. It ends when the last of them cannot be overwritten any more.
#[test]
fn many_creates_share_their_looks_and_these_end() {
    let memory = memory();
    let (reads, last) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(None)));
    let (counted, at) = (reads.clone(), last.clone());
    let store = memory.process(move |operation, key| {
        if operation == "get" && key.starts_with("webhooks/") {
            counted.set(counted.get() + 1);
            at.set(Some(Timestamp::now()));
        }
        Fate::default()
    });
    simulation::run(async {
        let mut ended = Timestamp::now();
        for _ in 0..40 {
            assert_eq!(create_webhook(&store, None).await.status, 201);
            ended = Timestamp::now();
            sleep(Duration::from_millis(50)).await;
        }
        sleep(Duration::from_secs(60)).await;
        let looks = reads.get() - 40;
        assert!((3..=40).contains(&looks), "{looks} looks");
        let last = last.get().expect("a look");
        let after = last.distance(ended);
        let timeout = CONFIG.store_timeout;
        assert!(after >= timeout && after < timeout + SETTLED, "{after:?}");
        assert_eq!(listed(&calm(&memory), WEBHOOKS).await.len(), 40);
    });
}
