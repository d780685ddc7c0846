//! The `sameseed` binary under test.
//!
//! Owns the way to it: cargo is asked once per test process, in the profile and target folder of the test itself, so that the binary
//! is there on a clean clone and never stale. Cargo's own lock orders several test processes; `cargo test` has let go of it when tests run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The path of the freshly built `sameseed`.
///
/// # Panics
/// When the build fails: cargo's messages are in the panic.
pub fn sameseed_binary() -> PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(build).clone()
}

/// The root of the workspace.
pub fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package `tests` stands in the workspace").to_path_buf()
}

/// The folder `target/` in which this test or program was built, and the name of the profile's folder in it.
///
/// # Panics
/// When it does not lie where cargo puts it.
pub fn target_dir() -> (PathBuf, String) {
    // target/[triple/]PROFILE/deps/this-test, or PROFILE/this-program
    let exe = std::env::current_exe().expect("a process knows its own path");
    let is_profile = |folder: &&Path| !folder.ends_with("deps");
    let profile_dir =
        exe.ancestors().skip(1).find(is_profile).expect("cargo puts programs into the folder of their profile");
    let profile = profile_dir.file_name().expect("a profile has a folder").to_string_lossy().into_owned();
    (profile_dir.parent().expect("a profile's folder stands in the target folder").to_path_buf(), profile)
}

/// A `cargo` that behaves as if called from a shell at the workspace root.
pub fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace_root());
    // `[env]` of .cargo/config.toml is set for tests but was not for the cargo that built them: the difference would rebuild every crate
    // whose build script watches it.
    cargo.env_remove("RUSTC_BOOTSTRAP");
    cargo
}

fn build() -> PathBuf {
    let (target, profile) = target_dir();
    // The folder of the profile `dev` is called `debug`; the others bear their own names.
    let profile_name = if profile == "debug" { "dev" } else { &profile };
    let output = cargo()
        .args([
            "build",
            "--locked",
            "--package",
            "driver-tokio",
            "--bin",
            "sameseed",
            "--profile",
            profile_name,
            "--target-dir",
        ])
        .arg(&target)
        .output()
        .expect("cargo can be started");
    assert!(output.status.success(), "building `sameseed` failed:\n{}", String::from_utf8_lossy(&output.stderr));
    target.join(profile).join(format!("sameseed{}", std::env::consts::EXE_SUFFIX))
}
