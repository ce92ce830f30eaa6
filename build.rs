//! For each component of ours but the reference. Has the linker write the component's numbers in as few bytes as they need: it leaves five to
//! each by default, in case somebody links again, and that is a tenth of the component.

fn main() {
    println!("cargo::rerun-if-env-changed=PROFILE");
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| found == value);
    // Debug information would not survive it: `strip = "debuginfo"` keeps the names of functions.
    if is("CARGO_CFG_TARGET_FAMILY", "wasm") && is("PROFILE", "release") {
        println!("cargo::rustc-link-arg=--compress-relocations");
    }
}
