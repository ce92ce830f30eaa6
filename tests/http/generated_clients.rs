//! The document is fit for generators: clients that standard ones make of it work.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::reference::{run, tool};
use crate::support::tokens::publisher;
use crate::support::{Server, busy, standard};

fn source(name: &str) -> std::path::PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    tests.join("generated_clients").join(name)
}

/// A directory with the served document in it.
async fn with_document(api: &Server) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let answer = api.request("GET", "/openapi.json").send_unchecked().await;
    let document = answer.expect("an answer").text;
    std::fs::write(directory.path().join("openapi.json"), document).expect("written");
    directory
}

/// Runs a client's program, which tells what it was told.
async fn check(api: &Server, mut program: Command) {
    let application = api.application();
    program
        .arg(format!("http://{}", api.address()))
        .arg(application.token())
        .arg(&application.id)
        .arg(publisher());
    let (ran, told) = run(program).await;
    assert!(ran, "{told}");
    let told: Value = serde_json::from_str(&told).unwrap_or_else(|e| panic!("{e}: {told}"));
    let expected = json!({
        "created": 201,
        "secret": true,
        "events": ["session.completed"],
        "total": 1,
        "removed": 204,
        "missing": "The requested resource was not found",
        "published": 202,
        "refused": 403,
        "data": {"sessionId": "ses_1"},
        "pending": 0,
    });
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_generated_client_in_python_works() {
    let _busy = busy().await;
    let api = standard();
    let Some(generator) = tool("venv/bin/openapi-python-client", "the client in Python") else {
        return;
    };
    let Some(python) = tool("venv/bin/python", "the client in Python") else {
        return;
    };
    let directory = with_document(api).await;
    let mut generate = Command::new(generator);
    generate.current_dir(directory.path()).args([
        "generate",
        "--meta",
        "none",
        "--path",
        "openapi.json",
        "--output-path",
        "webhooks_client",
    ]);
    let (generated, told) = run(generate).await;
    assert!(generated, "{told}");
    let mut program = Command::new(python);
    program
        .env("PYTHONPATH", directory.path())
        .arg(source("client.py"));
    check(api, program).await;
}

/// The compiler checks the program against the generated types first.
#[tokio::test]
async fn a_generated_client_in_typescript_compiles_and_works() {
    let _busy = busy().await;
    let api = standard();
    let what = "the client in TypeScript";
    let Some(modules) = tool("typescript-client/node_modules", what) else {
        return;
    };
    let Some(generator) = tool(
        "typescript-client/node_modules/.bin/openapi-typescript",
        what,
    ) else {
        return;
    };
    let directory = with_document(api).await;
    let path = |name: &str| directory.path().join(name);
    std::os::unix::fs::symlink(&modules, path("node_modules")).expect("a link");
    std::fs::write(path("package.json"), r#"{"type":"module"}"#).expect("written");
    std::fs::copy(source("client.ts"), path("client.ts")).expect("copied");

    let mut generate = Command::new(generator);
    generate
        .current_dir(directory.path())
        .args(["openapi.json", "-o", "api.d.ts"]);
    let (generated, told) = run(generate).await;
    assert!(generated, "{told}");
    let mut compile = Command::new(modules.join(".bin/tsc"));
    compile.current_dir(directory.path()).args([
        "--strict",
        "--target",
        "es2022",
        "--module",
        "esnext",
        "--moduleResolution",
        "bundler",
        "--skipLibCheck",
        "client.ts",
    ]);
    let (compiled, told) = run(compile).await;
    assert!(compiled, "{told}");
    let mut program = Command::new("node");
    program.arg(path("client.js"));
    check(api, program).await;
}
