//! What did not run, told loudly when everything else is over.
//!
//! Whoever runs the tests can name a file in `WEBHOOKS_NOT_RUN` and gets a line for each there.
//! Without, the lines are printed at exit: libtest hides what passing tests print and has no hook
//! for the end of a run, so this asks the C library to call it.

use std::fs::File;
use std::io::Write;
use std::sync::{Mutex, Once};

static NOT_APPLICABLE: Mutex<Vec<String>> = Mutex::new(Vec::new());
static NOT_RUN: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// A test that Spin cannot host; `function` is the path of something inside of it.
pub fn not_applicable_on_spin(function: &str) {
    record(&NOT_APPLICABLE, test(function).to_owned());
}

/// A test that needs a PostgreSQL server; `function` is the path of something inside of it.
///
/// # Panics
///
/// Where `WEBHOOKS_REQUIRE_CLIENTS` is `1`.
pub fn server_missing(function: &str) {
    client_missing(&format!("{} on PostgreSQL", test(function)));
}

/// The name of the test that the function is in.
fn test(function: &str) -> &str {
    function
        .trim_end_matches("::here")
        .trim_end_matches("::{{closure}}")
        .trim_start_matches("http::")
}

/// A check whose means are missing on this machine.
pub fn not_run(what: &str, why: &str) {
    record(&NOT_RUN, format!("{what} ({why})"));
}

/// A client whose language or library is missing on this machine.
///
/// # Panics
///
/// Where `WEBHOOKS_REQUIRE_CLIENTS` is `1`.
pub fn client_missing(name: &str) {
    let required = std::env::var("WEBHOOKS_REQUIRE_CLIENTS").is_ok_and(|it| it == "1");
    assert!(
        !required,
        "{name}: not installed, and WEBHOOKS_REQUIRE_CLIENTS=1"
    );
    not_run(name, "not installed");
}

fn record(list: &Mutex<Vec<String>>, entry: String) {
    static AT_EXIT: Once = Once::new();

    if let Some(file) = std::env::var_os("WEBHOOKS_NOT_RUN") {
        let line = match std::ptr::eq(list, &NOT_APPLICABLE) {
            true => format!("{entry} (not applicable on spin)\n"),
            false => format!("{entry}\n"),
        };
        File::options()
            .create(true)
            .append(true)
            .open(&file)
            .and_then(|mut file| file.write_all(line.as_bytes()))
            .unwrap_or_else(|e| panic!("WEBHOOKS_NOT_RUN={}: {e}", file.display()));
        return;
    }
    AT_EXIT.call_once(|| {
        // SAFETY: C11 7.22.4.2; `tell` may be called from any thread and does not unwind.
        let refused = unsafe { atexit(tell) };
        assert_eq!(refused, 0, "atexit");
    });
    list.lock().unwrap_or_else(|e| e.into_inner()).push(entry);
}

unsafe extern "C" {
    fn atexit(function: extern "C" fn()) -> i32;
}

extern "C" fn tell() {
    for (list, heading) in [
        (&NOT_APPLICABLE, "NOT APPLICABLE on spin"),
        (&NOT_RUN, "NOT RUN"),
    ] {
        let mut entries = list.lock().unwrap_or_else(|e| e.into_inner());
        if entries.is_empty() {
            continue;
        }
        entries.sort();
        let line = match (heading, entries.len()) {
            ("NOT RUN", _) => format!("NOT RUN: {}\n", entries.join(", ")),
            (heading, count) => format!("{heading}: {count} tests: {}\n", entries.join(", ")),
        };
        // Nobody is left to tell about a failure.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}
