//! The HTTP contract as tests: given a running service, when a request comes, then this answer.
//!
//! They talk to the built component over TCP and know nothing of its code. `cargo xtask test`
//! builds what they need and runs them; these variables choose what they run against:
//!
//! | variable | meaning |
//! |---|---|
//! | `WEBHOOKS_RUNTIME` | `local` (default) or `spin`, which must then be on PATH |
//! | `WEBHOOKS_LOCAL_RUNTIME` | the `local-runtime` command, when it is not beside the tests' target directory |
//! | `WEBHOOKS_XTASK` | the `xtask` command, when it is not there either |
//! | `WEBHOOKS_RUNTIME_CONFIG` | with `spin`: its `--runtime-config-file`; else `deploy/runtime-config.toml` |
//! | `WEBHOOKS_SQL_PROBE` | the component of `databases.rs`, when it is not in this target directory |
//! | `WEBHOOKS_PYTHON` | the Python interpreter, one that has `requests` and `standardwebhooks` |
//! | `WEBHOOKS_REQUIRE_CLIENTS` | `1`: a client whose language is missing, or PostgreSQL, is a failure |
//! | `WEBHOOKS_NOT_RUN` | a file that gets a line for each test that could not run |
//!
//! A test that a runtime cannot host says so at the end of the run, by name.

mod support;

mod applications;
mod blocked_networks;
mod bodies;
mod browser;
mod budgets;
mod clients;
mod concurrency;
mod concurrent_changes;
mod configuration;
mod cors;
mod create;
mod databases;
mod durability;
mod earlier_documents;
mod errors;
mod event_types;
mod events;
mod every_operation;
mod example;
mod faults;
mod generated_clients;
mod guide;
mod idempotency;
mod isolation;
mod limit;
mod links;
mod listen;
mod logs;
mod operations;
mod operator;
mod paths;
mod portal;
mod portal_sessions;
mod published_keys;
mod rate_limit;
mod receivers;
mod reference;
mod rotation;
mod samples;
mod secrets;
mod shared;
mod standard_webhooks;
mod test_delivery;
mod tokens;
mod tour;
mod urls;
mod webhooks;
