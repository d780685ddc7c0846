//! No std in core, proved by the compiler: see `no_std_guard/lib.rs`.
//!
//! Each test builds a small workspace of its own (a copy of core and the guard, with the repository's versions and lock file), because in
//! the repository's workspace the guard could not be told from its neighbours, who do use std.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use tests::{Outcome, cargo, target_dir, workspace_root};

const GUARD_MANIFEST: &str = r#"[package]
name = "no_std_guard"
version = "0.0.0"
edition = "2024"

[lib]
path = "lib.rs"
crate-type = ["staticlib"]

[dependencies]
sameseed-core.workspace = true
"#;

const INTRUDER_MANIFEST: &str = r#"[package]
name = "intruder"
version = "0.0.0"
edition = "2024"

[lib]
path = "lib.rs"
"#;

/// Says nothing of `no_std`, as most crates do.
const INTRUDER: &str = "pub const PATIENCE_S: u64 = 1;\n";

#[test]
fn core_links_without_std() {
    let built = build_guard("clean", |_| Ok(())).unwrap();
    assert!(built.status.success(), "{}", stderr(&built));
}

#[test]
fn guard_fails_when_core_gets_a_dependency_with_std() {
    let built = build_guard("intruder", |world| {
        let intruder = world.join("intruder");
        fs::create_dir_all(&intruder)?;
        fs::write(intruder.join("Cargo.toml"), INTRUDER_MANIFEST)?;
        fs::write(intruder.join("lib.rs"), INTRUDER)?;
        let entry = "[dependencies]\nintruder = { path = \"../intruder\" }\n";
        edit(&world.join("core/Cargo.toml"), |manifest| manifest.replacen("[dependencies]\n", entry, 1))?;
        edit(&world.join("core/src/lib.rs"), |source| source + "\npub use intruder::PATIENCE_S;\n")
    })
    .unwrap();
    assert!(!built.status.success(), "the guard did not see std");
    assert!(stderr(&built).contains("duplicate lang item"), "it failed for another reason:\n{}", stderr(&built));
}

#[test]
fn guard_fails_when_core_forgets_no_std() {
    let built = build_guard("forgetful", |world| {
        edit(&world.join("core/src/lib.rs"), |source| source.replacen("#![no_std]\n", "", 1))
    })
    .unwrap();
    assert!(!built.status.success(), "the guard did not see std");
    assert!(stderr(&built).contains("duplicate lang item"), "it failed for another reason:\n{}", stderr(&built));
}

/// Builds the guard in a fresh workspace called `name`, after `change` has done something to it.
fn build_guard(name: &str, change: impl FnOnce(&Path) -> Outcome) -> Outcome<Output> {
    let root = workspace_root();
    let world = target_dir().0.join("no_std_guard").join(name);
    if world.exists() {
        fs::remove_dir_all(&world)?;
    }
    copy_folder(&root.join("core/src"), &world.join("core/src"))?;
    fs::copy(root.join("core/Cargo.toml"), world.join("core/Cargo.toml"))?;
    fs::copy(root.join("Cargo.lock"), world.join("Cargo.lock"))?;
    fs::create_dir_all(world.join("guard"))?;
    fs::copy(root.join("tests/no_std_guard/lib.rs"), world.join("guard/lib.rs"))?;
    fs::write(world.join("guard/Cargo.toml"), GUARD_MANIFEST)?;
    let manifest = fs::read_to_string(root.join("Cargo.toml"))?;
    let members = manifest
        .lines()
        .map(|line| if line.starts_with("members = ") { "members = [\"core\", \"guard\"]" } else { line });
    fs::write(world.join("Cargo.toml"), members.collect::<Vec<_>>().join("\n"))?;
    change(&world)?;

    let mut cargo = cargo();
    // Flags that were meant for the repository (coverage, sanitizers, another target) would bring parts of std of their own.
    for flags in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS", "CARGO_BUILD_TARGET"] {
        cargo.env_remove(flags);
    }
    // Without std there is nothing that could unwind. It is never run, so it need not be fast either.
    cargo.env("CARGO_PROFILE_DEV_PANIC", "abort").env("CARGO_PROFILE_DEV_OPT_LEVEL", "0");
    // A target folder of its own: cargo takes packages at the same place in two workspaces for the same package.
    let target = world.with_extension("target");
    Ok(cargo.current_dir(&world).args(["build", "--package", "no_std_guard", "--target-dir"]).arg(target).output()?)
}

fn copy_folder(from: &Path, to: &Path) -> Outcome {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let copy: PathBuf = to.join(path.file_name().ok_or("an entry has a name")?);
        if path.is_dir() {
            copy_folder(&path, &copy)?;
        } else {
            fs::copy(&path, &copy)?;
        }
    }
    Ok(())
}

fn edit(path: &Path, change: impl FnOnce(String) -> String) -> Outcome {
    let before = fs::read_to_string(path)?;
    let after = change(before.clone());
    if after == before {
        return Err(format!("{} holds nothing to change", path.display()).into());
    }
    Ok(fs::write(path, after)?)
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
