//! Ordered maps and sets, filled one by one: the standard library's `collect` sorts first, and its sort
//! is 7 KB of the component for each type of elements.

use std::collections::{BTreeMap, BTreeSet};

/// A map of these entries. Of several with one key the last one stays.
pub fn map<K: Ord, V>(entries: impl IntoIterator<Item = (K, V)>) -> BTreeMap<K, V> {
    let mut map = BTreeMap::new();
    map.extend(entries);
    map
}

/// A set of these.
pub fn set<T: Ord>(members: impl IntoIterator<Item = T>) -> BTreeSet<T> {
    let mut set = BTreeSet::new();
    set.extend(members);
    set
}
