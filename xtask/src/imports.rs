//! What a component imports, read from its binary form.

use anyhow::{Context, Result, bail};
use wasmparser::component_types::ComponentEntityType;
use wasmparser::{Parser, Payload, Validator, WasmFeatures};

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

/// The component that may import the databases.
const DISPATCHER: &str = "event-dispatcher";

/// What only [`DISPATCHER`] may import.
const DATABASES: [&str; 2] = ["spin:postgres/postgres@4.2.0", "spin:sqlite/sqlite@3.1.0"];

/// Functions of [`DATABASES`] that are not asynchronous and ask nobody.
const AT_ONCE: [&str; 2] = [
    "[constructor]connection-builder",
    "[method]connection-builder.set-ca-root",
];

/// The imports that are not allowed to the component that the package makes.
pub fn foreign<'a>(package: &str, imports: &'a [String]) -> Vec<&'a str> {
    let databases = |import: &str| package == DISPATCHER && DATABASES.contains(&import);
    imports
        .iter()
        .map(String::as_str)
        .filter(|import| !allowed(import) && !databases(import))
        .collect()
}

/// The functions of databases that a component imports and that stop the whole instance while they
/// run.
///
/// # Errors
///
/// When it is no component, or an invalid one.
pub fn blocking(wasm: &[u8]) -> Result<Vec<String>> {
    let imports = of(wasm)?;
    let types = Validator::new_with_features(WasmFeatures::all())
        .validate_all(wasm)
        .context("the build's result is invalid")?;
    let mut blocking = Vec::new();
    for import in imports {
        let item = types.component_item_for_import(&import);
        let Some(ComponentEntityType::Instance(instance)) = item.map(|item| item.ty) else {
            continue;
        };
        if !DATABASES.contains(&import.as_str()) {
            continue;
        }
        for (name, item) in &types[instance].exports {
            if let ComponentEntityType::Func(function) = item.ty
                && !types[function].async_
                && !AT_ONCE.contains(&name.as_str())
            {
                blocking.push(format!("{name} of {import}"));
            }
        }
    }
    Ok(blocking)
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

/// The names of a component's imports. What the modules and components inside of it import is its
/// own affair.
///
/// # Errors
///
/// When it is no component, or a malformed one.
pub fn of(wasm: &[u8]) -> Result<Vec<String>> {
    if !Parser::is_component(wasm) {
        bail!("the build's result is not a WebAssembly component");
    }
    let mut names = Vec::new();
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(imports) if depth == 0 => {
                for import in imports {
                    let name = import?.name;
                    let suffix = name.version_suffix.unwrap_or_default();
                    names.push(format!("{}{suffix}", name.name));
                }
            }
            _ => {}
        }
    }
    Ok(names)
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
    fn imports_are_read_from_all_import_sections_of_the_component_alone() {
        let inner = component(&[(10, b"\x01\x00\x03x:y\x05\x00")]);
        let wasm = component(&[
            (0, b"\x04nameskipped"),
            (4, &inner),
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

    #[test]
    fn only_the_dispatcher_may_import_the_databases() {
        let imports =
            ["spin:sqlite/sqlite@3.1.0", "spin:postgres/postgres@4.2.0"].map(str::to_owned);
        assert!(foreign("event-dispatcher", &imports).is_empty());
        assert_eq!(foreign("application-webhooks", &imports), imports);
        let others = [
            "spin:sqlite/sqlite@3.0.0",
            "spin:postgres/postgres@4.0.0",
            "fermyon:spin/sqlite@2.0.0",
            "fermyon:spin/postgres@2.0.0",
        ];
        let others = others.map(str::to_owned);
        assert_eq!(foreign("event-dispatcher", &others), others);
    }

    /// A component that imports an interface with these functions, of which some are asynchronous.
    fn importing(interface: &str, functions: &[(&str, bool)]) -> Vec<u8> {
        let short = |length: usize| u8::try_from(length).expect("short");
        let name = |name: &str| [&[0, short(name.len())], name.as_bytes()].concat();
        let mut instance = vec![1, 0x42, short(functions.len() * 2)];
        for (number, (function, asynchronous)) in functions.iter().enumerate() {
            let kind = if *asynchronous { 0x43 } else { 0x40 };
            instance.extend([1, kind, 0, 1, 0]);
            instance.push(4);
            instance.extend(name(function));
            instance.extend([1, short(number)]);
        }
        let import = [&[1], &*name(interface), &[5, 0]].concat();
        component(&[(7, &instance), (10, &import)])
    }

    #[test]
    fn blocking_functions_of_databases_are_found() {
        let functions = [("execute", false), ("execute-async", true)];
        for (interface, found) in [
            (
                "spin:sqlite/sqlite@3.1.0",
                &["execute of spin:sqlite/sqlite@3.1.0"][..],
            ),
            (
                "spin:postgres/postgres@4.2.0",
                &["execute of spin:postgres/postgres@4.2.0"],
            ),
            ("spin:key-value/key-value@3.0.0", &[]),
        ] {
            let wasm = importing(interface, &functions);
            assert_eq!(blocking(&wasm).expect("valid"), found);
            let wasm = importing(interface, &functions[1..]);
            assert!(blocking(&wasm).expect("valid").is_empty());
        }
    }
}
