//! Where a component's bytes and a request's time are, by crate.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use wasmparser::{Encoding, KnownCustom, Name, Parser, Payload, TypeRef};

use crate::project;

/// How many crates are told; the rest is summed up.
const SHOWN: usize = 12;

/// The size of the functions of each crate, in bytes, of a component that has its functions' names.
///
/// # Errors
///
/// When it is no component.
pub fn sizes(wasm: &[u8]) -> Result<BTreeMap<String, f64>> {
    let mut sizes = BTreeMap::new();
    let mut imported = 0_u32;
    let mut bodies: Vec<usize> = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::Version {
                encoding: Encoding::Module,
                ..
            } => {
                imported = 0;
                bodies.clear();
            }
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    imported += u32::from(matches!(import?.ty, TypeRef::Func(_)));
                }
            }
            Payload::CodeSectionEntry(body) => bodies.push(body.range().len()),
            Payload::CustomSection(section) => {
                let KnownCustom::Name(names) = section.as_known() else {
                    continue;
                };
                let mut known = HashMap::new();
                for part in names {
                    if let Name::Function(functions) = part? {
                        for function in functions {
                            let function = function?;
                            known.insert(function.index, function.name);
                        }
                    }
                }
                for (index, size) in (imported..).zip(&bodies) {
                    let name = known.get(&index).copied().unwrap_or_default();
                    *sizes.entry(crate_of(name)).or_default() += *size as f64;
                }
            }
            _ => {}
        }
    }
    Ok(sizes)
}

/// Samples a process while something else happens.
pub struct Samples {
    perf: Child,
}

impl Samples {
    /// Whether that is possible here.
    pub fn can_be_taken() -> bool {
        project::on_path("perf").is_some()
    }

    /// Begins, into `file`.
    ///
    /// # Errors
    ///
    /// When `perf` does not start.
    pub fn begin(pid: u32, file: &Path) -> Result<Self> {
        let perf = Command::new("perf")
            .args(["record", "-q", "-F", "997", "-p", &pid.to_string(), "-o"])
            .arg(file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("perf does not start")?;
        Ok(Self { perf })
    }

    /// Ends when the process that is sampled has ended: the share of each crate of the component,
    /// and of what is not the component, in percent.
    ///
    /// # Errors
    ///
    /// When `perf` cannot tell, for instance because the kernel does not let it sample.
    pub fn shares(mut self, file: &Path) -> Result<BTreeMap<String, f64>> {
        self.perf.wait()?;
        let report = project::output_of(
            Command::new("perf")
                .args([
                    "report",
                    "--stdio",
                    "--no-children",
                    "-g",
                    "none",
                    "-t",
                    ";",
                ])
                .args(["--percent-limit", "0", "--sort", "dso,sym", "-i"])
                .arg(file),
        )
        .context("perf has no report: see /proc/sys/kernel/perf_event_paranoid")?;
        let mut shares = BTreeMap::new();
        for line in report.lines().filter(|line| !line.starts_with('#')) {
            let mut columns = line.splitn(3, ';').map(str::trim);
            let (Some(share), Some(object), Some(symbol)) =
                (columns.next(), columns.next(), columns.next())
            else {
                continue;
            };
            let Ok(share) = share.trim_end_matches('%').parse::<f64>() else {
                continue;
            };
            *shares.entry(place_of(object, symbol)).or_default() += share;
        }
        Ok(shares)
    }
}

/// Where a sample was taken.
fn place_of(object: &str, symbol: &str) -> String {
    // `[.] name`, and the runtime puts `wasm[0]::function[7]::` before its own.
    let symbol = symbol.split_once(' ').map_or(symbol, |(_, name)| name);
    if object.starts_with("[JIT]") || object.ends_with(".cwasm") {
        let name = symbol.rsplit("]::").next().unwrap_or(symbol);
        return match name.starts_with("function[") {
            true => "component, calls of the host".to_owned(),
            false => format!("component, {}", crate_of(name)),
        };
    }
    if object.starts_with('[') {
        return "kernel".to_owned();
    }
    "runtime".to_owned()
}

/// The crate of a function, by its mangled name. A method of a trait belongs to the type's crate.
fn crate_of(symbol: &str) -> String {
    let name = match first_name(symbol) {
        Some(name) => name,
        None => format!("{:#}", rustc_demangle::demangle(symbol)),
    };
    if name == symbol {
        // Such as `dlmalloc` and `__multi3`.
        return "C library and compiler's own".to_owned();
    }
    let start = name.find(|c: char| c.is_ascii_alphanumeric());
    let mut rest = &name[start.unwrap_or_default()..];
    for word in ["mut ", "dyn ", "const ", "impl "] {
        rest = rest.strip_prefix(word).unwrap_or(rest);
    }
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let first = &rest[..end.unwrap_or(rest.len())];
    // A parameter such as `F` in `<F as axum::handler::Handler>::call`.
    match rest.split_once(" as ") {
        Some((_, of)) if first.len() <= 2 => of.split(':').next().unwrap_or(first).to_owned(),
        _ => first.to_owned(),
    }
}

/// The first part of a path that is mangled in Rust's older way: a crate, or `<Type as Trait>`.
/// `perf` cuts long names, so that the demangler does not know them.
fn first_name(symbol: &str) -> Option<String> {
    let rest = symbol.strip_prefix("_ZN")?;
    let name = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    let length: usize = rest[..rest.len() - name.len()].parse().ok()?;
    let name = name.get(..length).unwrap_or(name);
    let written = [
        ("$LT$", "<"),
        ("$GT$", ">"),
        ("$RF$", "&"),
        ("$u20$", " "),
        ("$u5b$", "["),
        ("$LP$", "("),
        ("..", "::"),
    ];
    let plain = written
        .iter()
        .fold(name.to_owned(), |name, (from, to)| name.replace(from, to));
    Some(plain)
}

/// A table of the greatest, each with `unit` after it.
pub fn table(head: &str, amounts: BTreeMap<String, f64>, unit: &str) -> String {
    let mut rows: Vec<(String, f64)> = amounts.into_iter().collect();
    rows.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let rest: f64 = rows.iter().skip(SHOWN).map(|(_, amount)| amount).sum();
    rows.truncate(SHOWN);
    rows.push(("all else".to_owned(), rest));
    let mut text = format!("| {head} |  |\n|---|---|\n");
    for (name, amount) in rows {
        let _ = writeln!(text, "| {name} | {amount:.0}{unit} |");
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_of_functions() {
        for (symbol, name) in [
            (
                "_ZN4http6header4name14StandardHeader10from_bytes17hab460e66d810c1b3E",
                "http",
            ),
            ("_RNvNtCs9pv848UzQwQ_4core3fmt5write", "core"),
            (
                "_ZN93_$LT$tower..util..oneshot..Oneshot$LT$S$C$Req$GT$$u20$as$u20$core..future..future..Future$GT$4poll17h0123456789abcdefE",
                "tower",
            ),
            (
                "_ZN85_$LT$F$u20$as$u20$axum..handler..Handler$LT$$LP$M$C$T1$RP$$C$S$GT$$GT$4call17h0123456789abcdefE",
                "axum",
            ),
            (
                "_ZN93_$LT$$RF$mut$u20$serde_json..de..Deserializer$LT$R$GT$$u20$as$u20$serde_core..de..Deserializer$GT$8any17h0123456789abcdefE",
                "serde_json",
            ),
            (
                "_ZN117_$LT$futures_util..stream..futures_unordered..FuturesUnordered$LT$Fut$GT$$u20$as$u20$futur",
                "futures_util",
            ),
            ("dlmalloc", "C library and compiler's own"),
        ] {
            assert_eq!(crate_of(symbol), name);
        }
    }

    #[test]
    fn places_of_samples() {
        for (object, symbol, place) in [
            ("[kernel.kallsyms]", "[k] tcp_ack", "kernel"),
            ("local-runtime", "[.] tokio::park", "runtime"),
            (
                "[JIT] tid 7",
                "[.] dlfree",
                "component, C library and compiler's own",
            ),
            (
                "0a1b.cwasm",
                "[.] wasm[0]::function[7]::_RNvNtCs9pv848UzQwQ_4core3fmt5write",
                "component, core",
            ),
            (
                "0a1b.cwasm",
                "[.] wasm[1]::function[42]",
                "component, calls of the host",
            ),
        ] {
            assert_eq!(place_of(object, symbol), place);
        }
    }
}
