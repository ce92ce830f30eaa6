//! Finding a Spin that can run the component.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use crate::project;

/// The first Spin with all that the component imports.
const OLDEST: (u32, u32) = (4, 1);

/// The `spin` on PATH, which must be new enough.
pub fn find() -> Result<PathBuf> {
    const MEND: &str = "install it from https://spinframework.dev/install, or use --runtime local";

    let Some(spin) = project::on_path("spin") else {
        bail!("spin is not on PATH: {MEND}");
    };
    let said = project::output_of(Command::new(&spin).arg("--version")).unwrap_or_default();
    match version(&said) {
        Some(version) if version >= OLDEST => Ok(spin),
        Some((major, minor)) => bail!(
            "{} is Spin {major}.{minor}, and the component needs 4.1 or newer: {MEND}",
            spin.display()
        ),
        // There is another program of that name, a model checker.
        None => bail!(
            "{} is not the Spin that runs WebAssembly: {MEND}",
            spin.display()
        ),
    }
}

/// Reads `spin 4.1.0 (abcdef0 2026-06-01)`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text
        .strip_prefix("spin ")?
        .split_whitespace()
        .next()?
        .split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn versions() {
        assert_eq!(version("spin 4.1.0 (abcdef0 2026-06-01)\n"), Some((4, 1)));
        assert_eq!(version("spin 4.10.0-pre0\n"), Some((4, 10)));
        assert_eq!(version("saw option --version\n"), None);
        assert_eq!(version("Spin Version 6.5.2\n"), None);
        assert_eq!(version(""), None);
    }
}
