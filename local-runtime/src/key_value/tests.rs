//! Tests: a guest sees no difference between the stores.

use std::fs;
use std::path::PathBuf;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use super::*;

/// An operation, and what comes of it.
enum Step {
    Set(&'static str, &'static [u8]),
    Get(&'static str, Option<&'static [u8]>),
    Delete(&'static str),
    Exists(&'static str, bool),
    Keys(&'static [&'static str]),
}

use Step::{Delete, Exists, Get, Keys, Set};

const CASES: [(&str, &[Step]); 7] = [
    (
        "an empty store",
        &[Get("a", None), Exists("a", false), Keys(&[])],
    ),
    (
        "what was written is read",
        &[
            Set("a", b"1"),
            Get("a", Some(b"1")),
            Exists("a", true),
            Exists("A", false),
            Get("a ", None),
        ],
    ),
    (
        "the last value stays",
        &[
            Set("a", b"1"),
            Set("a", b"23"),
            Get("a", Some(b"23")),
            Keys(&["a"]),
        ],
    ),
    (
        "an empty value is one",
        &[Set("a", b""), Get("a", Some(b"")), Exists("a", true)],
    ),
    (
        "bytes that are no text, and keys that few would choose",
        &[
            Set("a", &[0, 255, 128]),
            Get("a", Some(&[0, 255, 128])),
            Set("", b"empty"),
            Get("", Some(b"empty")),
            Set("a\0b", b"nul"),
            Get("a\0b", Some(b"nul")),
            Get("a", Some(&[0, 255, 128])),
            Set("ä/'%_", b"signs"),
            Get("ä/'%_", Some(b"signs")),
        ],
    ),
    (
        "what was deleted is gone, and is deleted again without an error",
        &[
            Set("a", b"1"),
            Set("b", b"2"),
            Delete("a"),
            Delete("a"),
            Get("a", None),
            Exists("a", false),
            Keys(&["b"]),
        ],
    ),
    (
        "keys are in the order of their bytes",
        &[
            Set("b", b""),
            Set("ä", b""),
            Set("a/2", b""),
            Set("a/10", b""),
            Set("B", b""),
            Keys(&["B", "a/10", "a/2", "b", "ä"]),
        ],
    ),
];

/// A new store of each kind, with what it is.
fn each(directory: &Path) -> [(&'static str, Store); 4] {
    static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

    let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let file = directory.join(format!("{number}/deep/store.db"));
    let open = |kind, path: Option<&PathBuf>| {
        Store::open(kind, path.map(PathBuf::as_path), "default").unwrap()
    };
    [
        ("SQLite in a file", open(Kind::Sqlite, Some(&file))),
        ("SQLite in memory", open(Kind::Sqlite, None)),
        ("memory, of that file", open(Kind::Memory, Some(&file))),
        ("memory", open(Kind::Memory, None)),
    ]
}

#[tokio::test]
async fn the_stores_behave_alike() {
    let directory = tempfile::tempdir().unwrap();
    for (case, steps) in CASES {
        for (kind, store) in each(directory.path()) {
            for (number, step) in steps.iter().enumerate() {
                let store = store.clone();
                let at = format!("{case}, {kind}, step {number}");
                match *step {
                    Set(key, value) => store.set(key.to_owned(), value.to_owned()).await.unwrap(),
                    Get(key, expected) => {
                        let value = store.get(key.to_owned()).await.unwrap();
                        assert_eq!(value.as_deref(), expected, "{at}");
                    }
                    Delete(key) => store.delete(key.to_owned()).await.unwrap(),
                    Exists(key, expected) => {
                        let exists = store.exists(key.to_owned()).await.unwrap();
                        assert_eq!(exists, expected, "{at}");
                    }
                    Keys(expected) => assert_eq!(store.keys().await.unwrap(), expected, "{at}"),
                }
            }
        }
    }
}

#[tokio::test]
async fn a_value_that_spin_would_not_return_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let [_, sqlite, _, memory] = each(directory.path());
    for (kind, store) in [sqlite, memory] {
        for (length, is_returned) in [(MAX_RESULT_BYTES, true), (MAX_RESULT_BYTES + 1, false)] {
            let value = vec![0; length];
            store.clone().set("a".to_owned(), value).await.unwrap();
            let got = store.clone().get("a".to_owned()).await;
            assert_eq!(got.is_ok(), is_returned, "{kind}, {length}");
        }
    }
}

/// A trap: who gives up waiting cannot know that nothing happens.
#[tokio::test]
async fn what_has_begun_takes_effect_though_nobody_waits_for_it() {
    let directory = tempfile::tempdir().unwrap();
    for (kind, store) in each(directory.path()) {
        let mut set = Box::pin(store.clone().set("a".to_owned(), b"1".to_vec()));
        let begun = set.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        // SQLite's thread may be done by then.
        let may_be_done = matches!(store, Store::Sqlite(_));
        assert!(may_be_done || begun.is_pending(), "{kind}: within the call");
        drop(set);
        let since = Instant::now();
        while store.clone().get("a".to_owned()).await.unwrap().is_none() {
            assert!(since.elapsed() < Duration::from_secs(10), "{kind}");
        }
    }
}

#[tokio::test]
async fn a_store_in_memory_has_what_its_file_has_and_writes_nothing_back() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("store.db");
    for (label, value) in [("default", "1"), ("other", "2")] {
        let store = Store::open(Kind::Sqlite, Some(&file), label).unwrap();
        store.seed("a", value.as_bytes()).unwrap();
    }
    let before = fs::read(&file).unwrap();
    let store = Store::open(Kind::Memory, Some(&file), "default").unwrap();
    let got = store.clone().get("a".to_owned()).await.unwrap();
    assert_eq!(got.as_deref(), Some(&b"1"[..]));
    store.seed("b", b"3").unwrap();
    let written = store.clone().set("c".to_owned(), b"4".to_vec()).await;
    written.unwrap();
    assert_eq!(store.keys().await.unwrap(), ["a", "b", "c"]);
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn a_store_in_memory_makes_no_file_and_refuses_what_is_none_of_spins() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("store.db");
    Store::open(Kind::Memory, Some(&file), "default").unwrap();
    assert!(!file.exists());
    fs::write(&file, "no database at all, but longer than a page's head").unwrap();
    let refused = Store::open(Kind::Memory, Some(&file), "default");
    assert!(refused.is_err());
}

#[test]
fn each_label_has_its_own_store_and_there_is_always_a_default() {
    let directory = tempfile::tempdir().unwrap();
    let text = "[key_value_store.more]\ntype = \"spin\"\npath = \"named.db\"\n\
                [key_value_store.unnamed]\ntype = \"spin\"";
    let mut config: RuntimeConfig = toml::from_str(text).unwrap();
    config.directory = directory.path().join("config");
    let state = directory.path().join("state");
    let opened = stores(&config, Some(&state), Kind::Sqlite).unwrap();
    assert_eq!(
        opened.keys().collect::<Vec<_>>(),
        ["default", "more", "unnamed"]
    );
    for made in [
        "config/named.db",
        "state/unnamed.db",
        "state/sqlite_key_value.db",
    ] {
        assert!(directory.path().join(made).exists(), "{made}");
    }
    let memory = stores(&config, Some(&state), Kind::Memory).unwrap();
    assert!(memory.values().all(|it| matches!(it, Store::Memory(_))));

    let redis = toml::from_str("[key_value_store.default]\ntype = \"redis\"").unwrap();
    let refused = stores(&redis, None, Kind::Sqlite).err().unwrap();
    assert!(refused.to_string().contains("use Spin for it"), "{refused}");
}
