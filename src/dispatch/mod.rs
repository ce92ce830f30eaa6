//! Dispatch: what is due is claimed, signed, sent and recorded.
//!
//! [`dispatcher`] is what an instance has for it; [`pump`] takes what is due; [`attempt`] makes one
//! attempt, and [`resend`] one that somebody waits for; [`recorder`] writes what came of them; [`endpoints`]
//! keeps one endpoint from delaying the others; [`fan_out`] decides who gets an event, at publish and once
//! more later; [`recovery`] delivers anew what failed or is missing; [`watch`] makes a webhook inactive that
//! fails, and [`announce`] lets the operator know ([`operational`]); [`retention`] deletes what is old; [`delivery`] signs
//! and sends, tests too, and [`outcome`] is what came of that.

mod announce;
pub mod attempt;
pub mod delivery;
pub mod dispatcher;
pub mod endpoints;
pub mod fan_out;
mod operational;
pub mod outcome;
pub mod pump;
pub mod recorder;
pub mod recovery;
pub mod resend;
pub mod retention;
mod state;
#[cfg(test)]
mod tests;
mod watch;
