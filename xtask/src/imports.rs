//! What a component imports, read from its binary form.

use anyhow::{Context, Result, bail};

/// The interfaces that the component may import: what Spin 4.1 provides, less
/// what it must not touch. `wasi:keyvalue` is missing on purpose, because its
/// calls stop the whole instance while they run.
const ALLOWED: [(&str, &[&str]); 9] = [
    ("spin:key-value/", &["3.0.0"]),
    ("spin:variables/", &["3.0.0"]),
    ("wasi:cli/", &["0.2", "0.3.0"]),
    ("wasi:clocks/", &["0.2", "0.3.0"]),
    ("wasi:filesystem/", &["0.2", "0.3.0"]),
    ("wasi:http/", &["0.2", "0.3.0"]),
    ("wasi:io/", &["0.2"]),
    ("wasi:random/", &["0.2", "0.3.0"]),
    ("wasi:sockets/", &["0.2", "0.3.0"]),
];

/// The imports that are not allowed.
pub fn foreign(imports: &[String]) -> Vec<&str> {
    imports
        .iter()
        .map(String::as_str)
        .filter(|import| !allowed(import))
        .collect()
}

fn allowed(import: &str) -> bool {
    let Some((interface, version)) = import.split_once('@') else {
        return false;
    };
    ALLOWED
        .iter()
        .filter(|(package, _)| interface.starts_with(package))
        .flat_map(|(_, versions)| *versions)
        .any(|allowed| {
            // Wasmtime takes any patch release of WASI 0.2 for any other.
            version.strip_prefix(allowed).is_some_and(|rest| {
                rest.is_empty()
                    || *allowed == "0.2"
                        && rest
                            .strip_prefix('.')
                            .is_some_and(|patch| patch.parse::<u32>().is_ok())
            })
        })
}

/// The names of a component's imports, from the import sections at its top
/// level ("Component Model", Binary.md). Everything else is skipped unread.
pub fn of(wasm: &[u8]) -> Result<Vec<String>> {
    const COMPONENT: [u8; 8] = [0, b'a', b's', b'm', 0x0d, 0, 1, 0];
    const IMPORTS: u8 = 10;

    let Some(rest) = wasm.strip_prefix(&COMPONENT) else {
        bail!("the build's result is not a WebAssembly component");
    };
    let mut sections = Reader(rest);
    let mut names = Vec::new();
    while !sections.0.is_empty() {
        let id = sections.byte()?;
        let length = sections.number()? as usize;
        let mut section = Reader(sections.take(length)?);
        if id != IMPORTS {
            continue;
        }
        for _ in 0..section.number()? {
            names.push(section.import()?);
        }
    }
    Ok(names)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self
            .0
            .split_at_checked(length)
            .context("the component ends too early")?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    /// An unsigned LEB128.
    fn number(&mut self) -> Result<u32> {
        let mut number = 0_u32;
        for shift in (0..35).step_by(7) {
            let byte = self.byte()?;
            number |= u32::from(byte & 0x7f)
                .checked_shl(shift)
                .unwrap_or_default();
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        bail!("the component has a number of over 32 bits")
    }

    fn name(&mut self) -> Result<String> {
        let length = self.number()? as usize;
        let bytes = self.take(length)?;
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    /// `import ::= importname externdesc`: the name is kept.
    fn import(&mut self) -> Result<String> {
        let form = self.byte()?;
        let mut name = self.name()?;
        match form {
            0 | 1 => {}
            // With options, of which the version suffix belongs to the name.
            2 => {
                for _ in 0..self.number()? {
                    let option = self.byte()?;
                    let value = self.name()?;
                    if option == 1 {
                        name.push_str(&value);
                    }
                }
            }
            form => bail!("the component has an import of the unknown form {form}"),
        }
        match self.byte()? {
            // A core module: a second byte for the kind, then the type.
            0 => {
                self.byte()?;
                self.number()?;
            }
            // A function, component or instance: its type.
            1 | 4 | 5 => {
                self.number()?;
            }
            // A value or a type: equal to one by number, or a resource or a value type.
            2 | 3 => {
                if self.byte()? == 0 {
                    self.number()?;
                }
            }
            kind => bail!("the component imports something of the unknown kind {kind}"),
        }
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(sections: &[(u8, &[u8])]) -> Vec<u8> {
        let mut wasm = b"\0asm\x0d\0\x01\0".to_vec();
        for (id, payload) in sections {
            wasm.push(*id);
            wasm.push(u8::try_from(payload.len()).expect("short"));
            wasm.extend_from_slice(payload);
        }
        wasm
    }

    #[test]
    fn imports_are_read_from_all_import_sections() {
        let wasm = component(&[
            (0, b"\x04nameskipped"),
            (10, b"\x02\x00\x03a:b\x05\x00\x00\x01f\x01\x07"),
            (7, b"\x00"),
            (10, b"\x01\x00\x03c:d\x03\x01"),
        ]);
        assert_eq!(of(&wasm).expect("valid"), ["a:b", "f", "c:d"]);
    }

    #[test]
    fn what_is_no_component_is_refused() {
        assert!(of(b"\0asm\x01\0\0\0").is_err());
        assert!(of(&component(&[(10, b"\x01\x00\x7fa")])).is_err());
        assert!(of(&component(&[])[..7]).is_err());
    }

    #[test]
    fn only_what_spin_provides_is_allowed() {
        for name in [
            "spin:key-value/key-value@3.0.0",
            "spin:variables/variables@3.0.0",
            "wasi:http/types@0.3.0",
            "wasi:io/streams@0.2.6",
            "wasi:clocks/monotonic-clock@0.2.3",
        ] {
            assert!(allowed(name), "{name}");
        }
        for name in [
            "wasi:keyvalue/store@0.2.0-draft2",
            "fermyon:spin/key-value@2.0.0",
            "spin:key-value/key-value@4.0.0",
            "wasi:http/types@0.3.0-rc-2026-03-15",
            "wasi:io/streams@0.2.0-rc-2023-11-10",
            "wasi:io/streams@0.20.0",
            "wasi:http/types",
        ] {
            assert!(!allowed(name), "{name}");
        }
    }
}
