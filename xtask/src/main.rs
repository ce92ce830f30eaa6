//! The project's commands: `cargo xtask up`, `build`, `token`, `test`.
//!
//! Each command has its own file; `project`, `keys` and the others beside them
//! are what several commands share.

mod build;
mod imports;
mod keys;
mod project;
mod runtime;
mod spin;
mod store;
mod test;
mod token;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    /// Print a token signed with the development key, and nothing else
    Token(token::Args),
    /// Build the component as it is released, and check its size and imports
    Build(build::Args),
    /// Build everything and run every test
    Test(test::Args),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            eprintln!("{}", one_line(&error.to_string()));
            return ExitCode::from(2);
        }
        // Help is not an error.
        Err(error) => error.exit(),
    };
    let outcome = match cli.command {
        Command::Up(args) => up::run(args),
        Command::Token(args) => token::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Build(args) => build::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Test(args) => test::run(&args),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

/// Clap's message without its usage block: what is wrong and what may be meant,
/// and where the flags are described.
fn one_line(message: &str) -> String {
    let (problem, help) =
        message
            .split_once("\n\nUsage: ")
            .map_or((message, "cargo xtask"), |(problem, usage)| {
                let command = usage
                    .split_whitespace()
                    .take(3)
                    .take_while(|word| !word.starts_with(['-', '<', '[']))
                    .count();
                let end = usage
                    .split_whitespace()
                    .take(command)
                    .map(|word| word.len() + 1)
                    .sum::<usize>();
                (problem, usage[..end].trim_end())
            });
    // A message without a usage block ends with a hint of its own; ours replaces it.
    let problem = problem
        .split("\n\nFor more information")
        .next()
        .unwrap_or(problem);
    let problem = problem.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{problem} (see `{help} --help`)")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(args: &[&str]) -> String {
        let args = ["cargo xtask"].iter().chain(args);
        match Cli::try_parse_from(args) {
            Ok(_) => panic!("was accepted"),
            Err(error) => one_line(&error.to_string()),
        }
    }

    #[test]
    fn the_flags_are_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn a_wrong_flag_is_one_line_that_says_what_to_do() {
        for (args, expected) in [
            (
                &["up", "--listn", "1"][..],
                "error: unexpected argument '--listn' found tip: a similar argument exists: \
                 '--listen' (see `cargo xtask up --help`)",
            ),
            (
                &["token"],
                "error: the following required arguments were not provided: --merchant <ID> \
                 (see `cargo xtask token --help`)",
            ),
            (
                &["tokn"],
                "error: unrecognized subcommand 'tokn' tip: a similar subcommand exists: 'token' \
                 (see `cargo xtask --help`)",
            ),
            (
                &["token", "--merchant", "m", "--expires-in", "soon"],
                "error: invalid value 'soon' for '--expires-in <DURATION>': must be a number and \
                 a unit, such as 30s, 15m, 1h or 7d (see `cargo xtask token --help`)",
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
