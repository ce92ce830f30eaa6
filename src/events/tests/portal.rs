//! The portal's codes: kept, exchanged once, counted and deleted.

use super::*;
use crate::events::database::{NewCode, PortalCodes, WaitingSession};
use crate::model::portal::{Capabilities, Generation, PortalCode, SessionId};

on_both! {
    a_code_is_exchanged_once_and_only_as_long_as_it_is_valid,
    an_application_has_so_many_codes_in_a_while,
    old_codes_are_deleted,
}

fn new_code(seconds: i64) -> NewCode {
    NewCode {
        hash: PortalCode::generate().hash(),
        session: WaitingSession {
            application_id: shop(),
            session_id: SessionId::generate(),
            capabilities: Capabilities::DEFAULT,
            generation: Some(Generation::generate()),
            expires_at: at(seconds + 3600),
        },
        created_at: at(seconds),
        expires_at: at(seconds + 60),
        counted_since: at(seconds - 60),
        limit: 3,
    }
}

async fn kept(database: &SqlDatabase, code: &NewCode) -> bool {
    database.keep_code(code).await.expect("it is decided")
}

async fn found(database: &SqlDatabase, code: &NewCode, seconds: i64) -> Option<WaitingSession> {
    let found = database.find_code(&code.hash, at(seconds)).await;
    found.expect("it is read")
}

async fn taken(database: &SqlDatabase, code: &NewCode, claim: &ClaimToken, seconds: i64) -> bool {
    let taken = database.take_code(&code.hash, claim.clone(), at(seconds));
    taken.await.expect("it is decided")
}

async fn a_code_is_exchanged_once_and_only_as_long_as_it_is_valid(database: &SqlDatabase) {
    let without_generation = |mut code: NewCode| {
        code.session.generation = None;
        code
    };
    for code in [new_code(0), without_generation(new_code(0))] {
        assert!(kept(database, &code).await);
        // A repeat, as after a connection that broke.
        assert!(kept(database, &code).await);
        let session = Some(code.session.clone());
        assert_eq!(found(database, &code, 59).await, session);
        assert_eq!(found(database, &code, 60).await, None);
        let (one, other) = (ClaimToken::generate(), ClaimToken::generate());
        assert!(!taken(database, &code, &one, 60).await);
        assert!(taken(database, &code, &one, 59).await);
        assert!(!taken(database, &code, &other, 59).await);
        // Who repeats it has it.
        assert!(taken(database, &code, &one, 59).await);
        assert_eq!(found(database, &code, 59).await, None);
    }
    let unknown = new_code(0);
    assert_eq!(found(database, &unknown, 1).await, None);
    assert!(!taken(database, &unknown, &ClaimToken::generate(), 1).await);
}

async fn an_application_has_so_many_codes_in_a_while(database: &SqlDatabase) {
    let codes = [new_code(0), new_code(1), new_code(2), new_code(3)];
    for code in &codes[..3] {
        assert!(kept(database, code).await);
    }
    assert!(!kept(database, &codes[3]).await);
    assert_eq!(found(database, &codes[3], 4).await, None);
    // A repeat of what is kept is no other one, also where there are as many as may be.
    assert!(kept(database, &codes[2]).await);
    // An exchanged one counts too.
    assert!(taken(database, &codes[0], &ClaimToken::generate(), 4).await);
    assert!(!kept(database, &new_code(59)).await);
    assert!(kept(database, &new_code(60)).await);
    let mut others = new_code(60);
    others.session.application_id = ApplicationId::parse("other").expect("an id");
    assert!(kept(database, &others).await);
}

async fn old_codes_are_deleted(database: &SqlDatabase) {
    let codes = [new_code(0), new_code(100), new_code(200)];
    for code in &codes {
        assert!(kept(database, code).await);
    }
    assert_eq!(database.forget_codes(at(200), 1).await, Ok(1));
    assert_eq!(database.forget_codes(at(200), 2).await, Ok(1));
    assert_eq!(database.forget_codes(at(200), 2).await, Ok(0));
    assert!(found(database, &codes[2], 201).await.is_some());
}
