//! What the tests need beside Cargo: languages, packages, PostgreSQL. What can be is installed; what stays
//! missing is no failure here: the tests report it.

use std::path::PathBuf;
use std::process::Command;

use crate::{project, tools};

/// What the tests use of Python's: each module, and its package.
const PYTHON_MODULES: [(&str, &str); 7] = [
    ("requests", "requests"),
    ("standardwebhooks", "standardwebhooks==1.1.0"),
    ("openapi_spec_validator", "openapi-spec-validator==0.9.0"),
    ("openapi_python_client", "openapi-python-client==0.29.1"),
    ("schemathesis", "schemathesis==4.32.5"),
    ("kubernetes_validate", "kubernetes-validate==1.37.0"),
    ("jwt", "PyJWT[crypto]==2.15.1"),
];

/// Installs what is missing, and returns a Python that has [`PYTHON_MODULES`], where that is possible.
pub fn install() -> Option<PathBuf> {
    let python = clients();
    tools::postgres();
    for (name, version, directory) in NPM_PACKAGES {
        npm_package(name, version, directory);
    }
    python
}

/// What the tests use of npm's: each package, its version, and the directory of `target/tools`.
const NPM_PACKAGES: [(&str, &str, &str); 10] = [
    ("oidc-provider", "9.13.3", "openid-provider"),
    ("standardwebhooks", "1.1.1", "standardwebhooks"),
    ("jose", "6.2.18", "jose"),
    ("playwright-core", "1.65.1", "playwright-core"),
    ("axe-core", "4.14.1", "axe-core"),
    // The generator of the client works with this TypeScript, and not yet with its successor.
    ("typescript", "5.9.3", "typescript-client"),
    ("@types/node", "20.19.0", "typescript-client"),
    ("openapi-typescript", "7.13.0", "typescript-client"),
    ("openapi-fetch", "0.17.0", "typescript-client"),
    ("@redocly/cli", "2.77.0", "redocly"),
];

/// Prepares the languages of the reference page's examples as far as this
/// machine allows, and returns a Python that has [`PYTHON_MODULES`]. What stays missing
/// is no failure here: the tests report what they could not run.
fn clients() -> Option<PathBuf> {
    let missing: Vec<_> = [
        ("curl", "curl"),
        ("node", "nodejs"),
        ("go", "golang-go"),
        ("ruby", "ruby"),
        ("php", "php-cli"),
        ("javac", "default-jdk-headless"),
        ("mcs", "mono-mcs"),
        ("python3", "python3"),
        ("chromium", "chromium"),
    ]
    .into_iter()
    .filter(|(program, _)| project::on_path(program).is_none())
    .collect();
    if !missing.is_empty() {
        let programs: Vec<_> = missing.iter().map(|(program, _)| *program).collect();
        let packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
        if !tools::debian_packages(&packages) {
            eprintln!(
                "MISSING: {} for the tests with real clients: install them (Debian: apt-get \
                 install {}) to run these too",
                programs.join(", "),
                packages.join(" ")
            );
        }
    }

    let place = "target/tools/venv";
    let directory = project::root().join(place);
    let python = directory.join("bin/python");
    let import = format!(
        "import {}",
        PYTHON_MODULES.map(|(module, _)| module).join(", ")
    );
    let has_modules = || project::output_of(Command::new(&python).args(["-c", &import])).is_some();
    if !has_modules() && !virtual_environment(place) {
        // Debian has the module for it in a package of its own.
        tools::debian_packages(&["python3-venv"]);
        virtual_environment(place);
    }
    if has_modules() {
        return Some(python);
    }
    eprintln!(
        "MISSING: Python with {2}, for the tests with real clients: `python3 -m venv {0}` \
         and `{1} -m pip install {2}` show why",
        directory.display(),
        python.display(),
        PYTHON_MODULES.map(|(_, package)| package).join(" ")
    );
    None
}

/// Installs a package of npm's into `target/tools/{directory}`.
fn npm_package(name: &str, version: &str, directory: &str) {
    let place = format!("target/tools/{directory}");
    let directory = project::root().join(&place);
    if directory.join("node_modules").join(name).exists() {
        return;
    }
    let package = format!("{name}@{version}");
    let flags = [
        "install",
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
        "--prefix",
    ];
    let mut npm = Command::new("npm");
    npm.args(flags).arg(&directory).arg(&package);
    if !tools::install(&[&package], &place, &mut npm) {
        eprintln!("MISSING: {package}, for the tests that use it: they need npm and Node.js");
    }
}

fn virtual_environment(place: &str) -> bool {
    let directory = project::root().join(place);
    let packages = PYTHON_MODULES.map(|(_, package)| package);
    let mut pip = Command::new(directory.join("bin/python"));
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ])
    .args(packages);
    tools::quietly(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&directory),
    ) && tools::install(&packages, place, &mut pip)
}
