//! `cargo xtask up`, as far as it comes before the long build: what is wrong is said at once.

use std::path::PathBuf;
use std::process::{Command, Output};

/// A state directory of one test, inside of the target directory.
fn state_dir(name: &str) -> PathBuf {
    let name = format!("up-{name}-{}", std::process::id());
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// Runs it with these variables and flags. It must not come to the build: there is no compiler.
fn up(name: &str, variables: &[(&str, &str)], flags: &[&str]) -> (Output, String) {
    let state_dir = state_dir(name);
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("SPIN_VARIABLE_") {
            command.env_remove(variable);
        }
    }
    let output = command
        .args(["up", "--runtime", "local", "--state-dir"])
        .arg(&state_dir)
        .args(flags)
        .env("CARGO", "/nonexistent/cargo")
        .envs(variables.iter().copied())
        .output()
        .expect("it starts");
    let _ = std::fs::remove_dir_all(state_dir);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, said)
}

#[test]
fn malformed_variables_and_unknown_names_are_reported_before_the_build() {
    let variables = [
        ("SPIN_VARIABLE_SECRETS_KEY", "sesame"),
        ("SPIN_VARIABLE_RETRY_SCHEDULE", "5s"),
        ("SPIN_VARIABLE_EVENT_TYPE", "order.paid"),
    ];
    let (output, said) = up("malformed", &variables, &["--listen", "0"]);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for line in [
        "warning: SPIN_VARIABLE_EVENT_TYPE is no variable of the service, and is ignored: \
         is SPIN_VARIABLE_EVENT_TYPES meant?",
        "error: several variables are malformed",
        "  SPIN_VARIABLE_SECRETS_KEY must be base64 of 32 bytes",
        "    good is: export SPIN_VARIABLE_SECRETS_KEY=\"$(openssl rand -base64 32)\"",
        "  SPIN_VARIABLE_RETRY_SCHEDULE must be whole numbers of seconds",
    ] {
        assert!(said.contains(line), "{line}\n{said}");
    }
    assert!(
        !said.contains("sesame") && !said.contains("nonexistent"),
        "{said}"
    );
}

#[test]
fn good_variables_come_to_the_build_and_say_nothing() {
    let variables = [("SPIN_VARIABLE_EVENT_TYPES", "order.paid")];
    let (output, said) = up("good", &variables, &["--listen", "0"]);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("/nonexistent/cargo does not start"), "{said}");
    assert!(!said.contains("SPIN_VARIABLE"), "{said}");
}

#[test]
fn an_application_without_a_merchant_is_not_put_into_the_store() {
    let flags = ["--key-value", r#"application/shop={"merchant":"m1"}"#];
    let (output, said) = up("application", &[], &flags);
    assert_eq!(output.status.code(), Some(2), "{said}");
    let mend = r#"application/shop={"merchantId":"m1"}"#;
    assert!(said.contains(mend) && said.lines().count() == 1, "{said}");
}
