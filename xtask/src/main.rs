//! The project's commands: `cargo xtask up`, `listen`, `build`, `token`, `portal`, `test`, and
//! `doctor`, `reindex`, `reencrypt` for a service's store, `soak`.
//!
//! Each command has its own file; `project`, `keys` and the others beside them
//! are what several commands share.

mod bench;
mod build;
mod client;
#[cfg(test)]
mod compiled_once_tests;
mod deny;
mod fuzz;
mod imports;
mod keys;
mod listen;
mod operator;
mod portal;
#[path = "../../tests/http/support/postgres.rs"]
#[allow(dead_code, reason = "tests need more of it")]
mod postgres;
mod profile;
mod project;
mod recording;
mod release;
mod runtime;
mod slowest;
mod soak;
mod spin;
mod store;
mod test;
mod test_tools;
mod token;
mod tools;
mod up;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

#[derive(Parser)]
#[command(name = "xtask", bin_name = "cargo xtask", about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build, then serve locally, with development keys and a demo application
    Up(up::Args),
    /// Receive the deliveries of an application's events, verify them, and print a line for each
    Listen(listen::Args),
    /// Print a token signed with the development key, and nothing else
    Token(token::Args),
    /// Print a link to the portal of an application, good for a minute, and nothing else
    Portal(portal::Args),
    /// Build the component as it is released, and check its size and imports
    Build(build::Args),
    /// Put together what is attached to a release: components, manifest, runtime configs, checksums
    Release(release::Args),
    /// Build everything and run every test
    Test(test::Args),
    /// Check the dependencies' licences, versions, sources and security advisories
    Deny(deny::Args),
    /// Have a service read its whole store and report what is wrong, and on --fix put it right
    Doctor(operator::DoctorArgs),
    /// Have a service rebuild its indexes from the documents
    Reindex(operator::Service),
    /// Have a service encrypt with secrets_key what is still under secrets_key_previous
    Reencrypt(operator::Service),
    /// Compare the service's speed with that of a component that only makes its store operations
    Bench(bench::Args),
    /// Feed the token parser, the body parser and the URL rules with what nobody thought of
    Fuzz(fuzz::Args),
    /// Load, faults and checks together: nothing that was acknowledged is lost
    Soak(soak::Args),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error)
            if error.use_stderr()
                && error.kind() != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand =>
        {
            let command = std::env::args().nth(1);
            eprintln!("{}", one_line(&error.to_string(), command.as_deref()));
            return ExitCode::from(2);
        }
        // Help is not an error.
        Err(error) => error.exit(),
    };
    let outcome = match cli.command {
        Command::Up(args) => up::run(args),
        Command::Listen(args) => listen::run(&args),
        Command::Token(args) => token::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Portal(args) => portal::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Build(args) => build::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Release(args) => release::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Test(args) => test::run(&args),
        Command::Deny(args) => deny::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Doctor(args) => operator::doctor(&args),
        Command::Reindex(service) => operator::reindex(&service),
        Command::Reencrypt(service) => operator::reencrypt(&service),
        Command::Bench(args) => bench::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Fuzz(args) => fuzz::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Soak(args) => soak::run(&args),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

/// Clap's message without its usage block: what is wrong, what may be meant, and
/// where the flags are described.
fn one_line(message: &str, command: Option<&str>) -> String {
    let problem = ["\n\nUsage: ", "\n\nFor more information"]
        .into_iter()
        .filter_map(|block| message.find(block))
        .min()
        .map_or(message, |end| &message[..end])
        .replace("\n\n  tip:", ";");
    let problem = problem.split_whitespace().collect::<Vec<_>>().join(" ");
    let command = command
        .filter(|name| Cli::command().find_subcommand(name).is_some())
        .map_or_else(String::new, |name| format!(" {name}"));
    format!("{problem} (see `cargo xtask{command} --help`)")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(args: &[&str]) -> String {
        match Cli::try_parse_from(["cargo xtask"].iter().chain(args)) {
            Ok(_) => panic!("was accepted"),
            Err(error) => one_line(&error.to_string(), args.first().copied()),
        }
    }

    #[test]
    fn the_flags_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_wrong_flag_is_one_line_that_says_what_to_do() {
        for (args, expected) in [
            (
                &["up", "--listn", "1"][..],
                "error: unexpected argument '--listn' found; a similar argument exists: \
                 '--listen' (see `cargo xtask up --help`)",
            ),
            (
                &["token"],
                "error: the following required arguments were not provided: --merchant <ID> \
                 (see `cargo xtask token --help`)",
            ),
            (
                &["tokn"],
                "error: unrecognized subcommand 'tokn'; a similar subcommand exists: 'token' \
                 (see `cargo xtask --help`)",
            ),
            (
                &["token", "--merchant", "m", "--expires-in", "soon"],
                "error: invalid value 'soon' for '--expires-in <DURATION>': must be a number and \
                 a unit, such as 30s, 15m, 1h or 7d (see `cargo xtask token --help`)",
            ),
            (
                &["token", "--scope", "events:publish "],
                "error: invalid value 'events:publish ' for '--scope <SCOPE>': must be names with \
                 single spaces between them, such as events:publish (see `cargo xtask token --help`)",
            ),
            (
                &["listen", "--status", "99"],
                "error: invalid value '99' for '--status <STATUS>': 99 is not in 200..=599 \
                 (see `cargo xtask listen --help`)",
            ),
            (
                &["up", "--runtime", "docker"],
                "error: invalid value 'docker' for '--runtime <RUNTIME>' [possible values: auto, \
                 spin, local] (see `cargo xtask up --help`)",
            ),
            (
                &["up", "--key-value", "novalue"],
                "error: invalid value 'novalue' for '--key-value <KEY=VALUE>': must be KEY=VALUE \
                 (see `cargo xtask up --help`)",
            ),
        ] {
            assert_eq!(refused(args), expected);
        }
    }
}
