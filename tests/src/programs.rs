//! Which programs are on this machine.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_nowhere_is_missing() {
        assert_eq!(missing(&["kill", "no-such-program-anywhere"]), ["no-such-program-anywhere"]);
    }
}
