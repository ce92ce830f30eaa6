//! The race of the portal's codes, as a test: whoever exchanges one, and however late, broken and cut off the
//! statements are, one exchange has it.

use std::time::Duration;

use futures::future::join_all;
use proptest::prelude::*;

use super::claim::ClaimToken;
use super::database::{NewCode, PortalCodes, WaitingSession};
use super::memory::Memory;
use crate::model::ids::ApplicationId;
use crate::model::portal::{Capabilities, PortalCode, SessionId};
use crate::model::time::Timestamp;
use crate::runtime::simulation::{self, sleep};
use crate::store::memory::{Fate, schedules};

fn code(now: Timestamp) -> NewCode {
    NewCode {
        hash: PortalCode::generate().hash(),
        session: WaitingSession {
            application_id: ApplicationId::parse("shop").expect("an id"),
            session_id: SessionId::generate(),
            capabilities: Capabilities::DEFAULT,
            generation: None,
            expires_at: now.plus_secs(3600),
        },
        created_at: now,
        expires_at: now.plus_secs(60),
        counted_since: Timestamp::from_millis(0),
        limit: 10,
    }
}

proptest! {
    #![proptest_config(schedules())]

    /// Of exchanges at the same moment, in several processes, at most one returns that it has the code;
    /// and exactly one where no statement fails. A broken connection, after which the statement is run
    /// again, takes the code from nobody who has it.
    #[test]
    fn of_exchanges_at_the_same_moment_exactly_one_has_the_code(
        fates in prop::collection::vec(prop::collection::vec(Fate::any_or_crash(1500), 0..6), 2..5),
        starts in prop::collection::vec(0..30_u64, 5),
    ) {
        let memory = Memory::default();
        let is_calm = fates.iter().flatten().all(|fate| *fate == Fate::after(fate.delay));
        let calm = memory.scheduled(Vec::new());
        let processes: Vec<_> = fates.into_iter().map(|fates| memory.scheduled(fates)).collect();
        simulation::run(async {
            let code = code(Timestamp::now());
            prop_assert_eq!(calm.keep_code(&code).await, Ok(true));
            let exchanges = processes.iter().zip(starts).map(|(process, start)| {
                let code = &code;
                async move {
                    sleep(Duration::from_millis(start)).await;
                    let exchange = async {
                        let now = Timestamp::now();
                        if process.find_code(&code.hash, now).await?.is_none() {
                            return Ok(false);
                        }
                        process.take_code(&code.hash, ClaimToken::generate(), now).await
                    };
                    // A process that crashed says nothing any more.
                    let answered = futures::future::select(
                        Box::pin(exchange),
                        Box::pin(sleep(Duration::from_secs(50))),
                    );
                    match answered.await {
                        futures::future::Either::Left((answered, _)) => Some(answered),
                        futures::future::Either::Right(_) => None,
                    }
                }
            });
            let answered = join_all(exchanges).await;
            let winners = answered.iter().filter(|answered| matches!(answered, Some(Ok(true)))).count();
            prop_assert!(winners <= 1, "{:?}", answered);
            if is_calm {
                prop_assert_eq!(winners, 1, "{:?}", answered);
            }
            // Nobody who comes later has it, if somebody has.
            if winners == 1 {
                let late = calm.take_code(&code.hash, ClaimToken::generate(), Timestamp::now());
                prop_assert_eq!(late.await, Ok(false));
            }
            Ok(())
        })?;
    }
}
