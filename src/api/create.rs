//! How anything is created: load, decide, write, compensate, confirm. What each kind of resource
//! decides for itself is a [`Creation`].

use std::future::{Future, ready};

use futures::future::try_join;

use super::replay;
use super::request::Context;
use crate::config::Config;
use crate::fault::Fault;
use crate::http::error::Error;
use crate::http::idempotency;
use crate::http::response::Response;
use crate::model::content::Content;
use crate::model::idempotency_key::IdempotencyKey;
use crate::model::ids::WebhookId;
use crate::model::signing_secret::SigningSecret;
use crate::model::time::Timestamp;
use crate::store::idempotency::{Idempotency, Lookup, look_up};
use crate::store::index::{Index, Member};
use crate::store::key_value::Store;
use crate::store::stored_response::StoredResponse;

/// A resource that a request creates, parsed and checked.
pub trait Creation: Clone + 'static {
    /// Its id.
    type Id: Member;
    /// What it belongs to, where that is a resource too.
    type Parent;
    /// Its document.
    type Record;

    /// What the log calls it to read the resources that there are,
    const READING: &str;
    /// to count them,
    const COUNTING: &str;
    /// and to write one more.
    const CREATING: &str;

    /// What a repeat is a repeat of: the operation, and the resource that it is about.
    fn scope(&self, context: &Context) -> String;

    /// The index that lists it, unloaded.
    fn index(&self, context: &Context) -> Index<Self::Id>;

    /// How many there can be, and the error beyond.
    fn limit(config: &Config) -> (usize, Error);

    /// What it belongs to, and what `beside` reads meanwhile.
    fn authorize<T>(
        &self,
        context: &Context,
        beside: impl Future<Output = Result<T, Fault>>,
    ) -> impl Future<Output = Result<(Self::Parent, T), Error>>;

    /// The secret that the first response showed, for a repeat of it.
    fn replayed_secret(
        &self,
        context: &Context,
        made: WebhookId,
        now: Timestamp,
    ) -> impl Future<Output = Result<Option<SigningSecret>, Error>>;

    /// Whether it may be created in what it belongs to.
    fn check(parent: &Self::Parent) -> Result<(), Error>;

    /// The document and the response. `is_repeat_possible`: an earlier request with the same key may
    /// have written the document already.
    fn make(
        &self,
        context: &Context,
        made: &Made<Self::Id>,
        is_repeat_possible: bool,
    ) -> impl Future<Output = Result<(Self::Record, StoredResponse), Error>>;

    /// Writes the document and the index, in the order that keeps what the resource promises. The
    /// inner error is the client's: nothing is left then.
    fn write(
        &self,
        context: &Context,
        made: &Made<Self::Id>,
        record: &Self::Record,
        index: &mut Index<Self::Id>,
    ) -> impl Future<Output = Result<Result<(), Error>, Fault>>;

    /// Removes what [`write`](Self::write) may have left, but for the index.
    fn remove(&self, store: &Store, id: &Self::Id) -> impl Future<Output = Result<(), Fault>>;

    /// Removes what [`write`](Self::write) may have left where what it belongs to is gone.
    fn remove_orphan(&self, _: &Store, _: &Self::Id) -> impl Future<Output = Result<(), Fault>> {
        ready(Ok(()))
    }
}

/// What is new of a resource: the same for every repeat with an `Idempotency-Key`.
pub struct Made<Id> {
    /// Its id.
    pub id: Id,
    /// The id as records of `Idempotency-Key` have it.
    pub key: WebhookId,
    /// Its secret, where it has one.
    pub secret: SigningSecret,
    /// When it is created.
    pub now: Timestamp,
}

/// Creates a resource.
///
/// # Errors
///
/// [`Error::TooManyChanges`], [`Error::Conflict`], those of the [`Creation`], and the store's failure.
pub async fn create<C: Creation>(
    context: Context,
    creation: C,
    key: Option<IdempotencyKey>,
    content: Content,
) -> Result<Response, Error>
where
    C::Id: From<WebhookId>,
{
    let Context { config, store, .. } = &context;
    let now = Timestamp::now();
    let scope = creation.scope(&context);
    let reads = try_join(
        creation.index(&context).load(),
        look_up(store, key.as_ref(), &scope, &content, config, now),
    );
    let gate = context.gate();
    let found = gate.beside(creation.authorize(&context, reads));
    let found = context.run(C::READING, async { Ok::<_, Fault>(found.await) });
    let found = found.await?;
    // A repeat is no change: it gets the first response also when the merchant has none left.
    if !matches!(&found, Ok((_, (_, Lookup::Hit(_))))) {
        gate.admit()?;
    }
    let (parent, (mut index, lookup)) = found?;
    let idempotency = match lookup {
        Lookup::Hit(first) => {
            let secret = creation.replayed_secret(&context, first.made, now).await?;
            return replay::replayed(&first, secret.as_ref());
        }
        Lookup::Reused => return Err(idempotency::KEY_USED),
        Lookup::Miss(idempotency) => idempotency,
    };
    C::check(&parent)?;
    let (key, secret) = idempotency.id_and_secret(config);
    let made = Made {
        id: C::Id::from(key),
        key,
        secret,
        now,
    };
    let (limit, too_many) = C::limit(config);
    if index.is_full(limit, &made.id) {
        context.run(C::COUNTING, index.prune()).await?;
    }
    if index.is_full(limit, &made.id) {
        return Err(too_many);
    }

    let (record, response) = creation
        .make(&context, &made, idempotency.is_repeatable())
        .await?;
    let written = context.run(C::CREATING, async {
        if let Err(refused) = creation.write(&context, &made, &record, &mut index).await? {
            return Ok(Err(refused));
        }
        // The record last: who receives the resource by a repeat finds it in the list too.
        let keep = idempotency.keep(store, key, &response, config, now);
        keep.await.map(Ok)
    });
    match written.await {
        Ok(written) => written?,
        Err(fault) => {
            compensate(&context, &fault, creation, made.id, index, &idempotency);
            return Err(fault.into());
        }
    }
    index.confirm_later(made.id, Some(now), &context.deadline, &context.request_id);
    replay::response(&response, Some(&made.secret))
}

/// Removes, after the response, what a create that failed has left. A create with a key can be repeated,
/// and returns then what it made: to remove that could take it from under the repeat. It is removed only
/// where what it belongs to is gone: no delete knows of it, since it is in no index yet.
fn compensate<C: Creation>(
    context: &Context,
    fault: &Fault,
    creation: C,
    id: C::Id,
    mut index: Index<C::Id>,
    idempotency: &Idempotency,
) {
    let store = context.store.clone();
    let is_repeatable = idempotency.is_repeatable();
    context.compensate(fault.is_timeout(), async move || {
        match is_repeatable {
            true => creation.remove_orphan(&store, &id).await?,
            false => creation.remove(&store, &id).await?,
        }
        index.reconcile().await
    });
}
