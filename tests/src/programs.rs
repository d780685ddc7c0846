//! Which programs are on this machine.

use crate::Outcome;
use std::process::Command;

/// The names of those `programs` that are nowhere on `PATH`.
pub fn missing(programs: &[&'static str]) -> Vec<&'static str> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = std::env::split_paths(&path).collect();
    programs.iter().copied().filter(|program| !folders.iter().any(|folder| folder.join(program).is_file())).collect()
}

/// Whether the environment says that a missing program is a failure (`SAMESEED_REQUIRE_PEERS=1`).
pub fn required() -> bool {
    std::env::var_os("SAMESEED_REQUIRE_PEERS").is_some_and(|value| value == "1")
}

/// The compiler's version and the machine that it compiles for.
///
/// # Errors
/// When it does not say.
pub fn compiler() -> Outcome<String> {
    let output = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("-vV").output()?;
    let said = String::from_utf8(output.stdout)?;
    let word = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).ok_or("rustc says too little");
    Ok(format!("rustc {} {}", word("release: ")?, word("host: ")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_nowhere_is_missing() {
        assert_eq!(missing(&["kill", "no-such-program-anywhere"]), ["no-such-program-anywhere"]);
    }
}
