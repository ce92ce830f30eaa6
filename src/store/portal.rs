//! Which sessions of an application's portal are good: those of the generation that the store has. Who ends
//! them begins another one. A generation is random and never written again, so whichever of two ends is
//! the later one, and whatever the clocks say, no session that was made before either of them is good.

use serde::{Deserialize, Serialize};

use super::compensation::remove_orphan;
use super::key_value::Store;
use super::keys;
use crate::fault::Fault;
use crate::model::ids::ApplicationId;
use crate::model::portal::Generation;

/// The document under `portal/…`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortalDocument {
    generation: Generation,
}

/// The generation of the application's sessions; `None`: nobody has ended any.
///
/// # Errors
///
/// The store's failure.
pub async fn generation(
    store: &Store,
    application: &ApplicationId,
) -> Result<Option<Generation>, Fault> {
    let key = keys::portal(application);
    let document: Option<PortalDocument> = store.get_document(&key).await?;
    Ok(document.map(|document| document.generation))
}

/// Ends all sessions of the application's portal that there are. Returns whether there is the application:
/// nothing is left of one that is gone.
///
/// # Errors
///
/// The store's failure. The sessions may have ended all the same.
pub async fn end_sessions(store: &Store, application: &ApplicationId) -> Result<bool, Fault> {
    let key = keys::portal(application);
    let generation = Generation::generate();
    store
        .set_document(&key, &PortalDocument { generation })
        .await?;
    remove_orphan(store, &keys::application(application), &key).await
}

/// Removes what [`end_sessions`] left of an application that is gone.
///
/// # Errors
///
/// The store's failure.
pub async fn remove_orphan_of(store: &Store, application: &ApplicationId) -> Result<(), Fault> {
    let (owner, key) = (keys::application(application), keys::portal(application));
    remove_orphan(store, &owner, &key).await.map(drop)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::runtime::{simulation, sleep, spawn};
    use crate::store::memory::{Fate, Memory, schedules};

    fn shop() -> ApplicationId {
        ApplicationId::parse("shop").expect("an id")
    }

    proptest! {
        #![proptest_config(schedules())]

        /// Two processes end the sessions at the same moment, their operations as late as they will be: a
        /// session that was made before either of them ended is not good any more, at no moment.
        #[test]
        fn whoever_ends_sessions_last_no_earlier_one_is_good_again(
            fates in prop::collection::vec(prop::collection::vec(Fate::any(200), 0..4), 2),
            made_after in 0..300_u64,
        ) {
            let memory = Memory::default();
            memory.put(&keys::application(&shop()), "{}");
            let stores: Vec<_> = fates.into_iter().map(|fates| memory.scheduled(fates)).collect();
            let reader = memory.scheduled(vec![]);
            simulation::run(async {
                let first = generation(&reader, &shop()).await.expect("a generation");
                for store in stores {
                    spawn(async move {
                        let _ = end_sessions(&store, &shop()).await;
                    });
                }
                sleep(std::time::Duration::from_millis(made_after)).await;
                let second = generation(&reader, &shop()).await.expect("a generation");
                let mut gone = [false; 2];
                for _ in 0..50 {
                    sleep(std::time::Duration::from_millis(20)).await;
                    let now = generation(&reader, &shop()).await.expect("a generation");
                    for (gone, made) in gone.iter_mut().zip([&first, &second]) {
                        prop_assert!(!*gone || now != *made, "{made:?} is good again");
                        *gone |= now != *made;
                    }
                }
                Ok(())
            })?;
        }
    }

    #[test]
    fn nothing_is_left_of_an_application_that_is_gone() {
        let memory = Memory::default();
        let store = memory.scheduled(vec![]);
        simulation::run(async {
            assert_eq!(end_sessions(&store, &shop()).await, Ok(false));
            assert_eq!(memory.keys(""), [""; 0]);
            memory.put(&keys::application(&shop()), "{}");
            assert_eq!(end_sessions(&store, &shop()).await, Ok(true));
            let ended = generation(&store, &shop()).await;
            assert!(ended.is_ok_and(|generation| generation.is_some()));
        });
    }
}
