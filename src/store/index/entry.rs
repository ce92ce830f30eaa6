//! The entries of an index, also as earlier releases wrote them.

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use crate::model::ids::{ApplicationId, WebhookId};
use crate::model::time::Timestamp;

/// What an index has of one document: its id, and when it was created, by which lists are sorted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Entry<Id> {
    /// Both are known.
    #[serde(rename_all = "camelCase")]
    Dated {
        /// The document's id.
        id: Id,
        /// When it was created; `None` where the document does not say.
        created_at: Option<Timestamp>,
    },
    /// As earlier releases wrote it: only the document says when it was created.
    Undated(Id),
}

impl<Id> Entry<Id> {
    /// The document's id.
    pub fn id(&self) -> &Id {
        let (Self::Dated { id, .. } | Self::Undated(id)) = self;
        id
    }

    /// When the document was created, where that is known here.
    pub fn created_at(&self) -> Option<Timestamp> {
        match self {
            Self::Dated { created_at, .. } => *created_at,
            Self::Undated(_) => None,
        }
    }

    /// Whether only the document says when it was created.
    pub fn is_undated(&self) -> bool {
        matches!(self, Self::Undated(_))
    }
}

/// The document of an index.
pub struct Entries<Id>(pub Vec<Entry<Id>>);

impl<Id: Member> Entries<Id> {
    /// Reads the document. What is no entry in it is ignored: no id of ours looks so.
    ///
    /// # Errors
    ///
    /// When it is no JSON, or no list.
    pub fn read(document: &[u8]) -> serde_json::Result<Self> {
        // Of an untagged enum serde copies each value before it reads it, and most indexes need none.
        if let Ok(dated) = serde_json::from_slice::<Vec<Dated<Id>>>(document) {
            let entries = dated.into_iter();
            let entries = entries.map(|Dated { id, created_at }| Entry::Dated { id, created_at });
            return Ok(Self(entries.collect()));
        }
        let written: Vec<Written<Id>> = serde_json::from_slice(document)?;
        let entries = written.into_iter().filter_map(|entry| match entry {
            Written::Dated(Dated { id, created_at }) => Some(Entry::Dated { id, created_at }),
            Written::Undated(id) => Some(Entry::Undated(id)),
            Written::Other(_) => None,
        });
        Ok(Self(entries.collect()))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Dated<Id> {
    id: Id,
    created_at: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written<Id> {
    Dated(Dated<Id>),
    Undated(Id),
    Other(IgnoredAny),
}

/// What an index can hold.
pub trait Member: Clone + Ord + Serialize + DeserializeOwned + 'static {}

impl Member for WebhookId {}
impl Member for ApplicationId {}
