//! What the engine costs by itself is what it did, in instructions that valgrind counts in an optimised build; the figures stand in `tests/instructions.txt`.
//!
//! Without valgrind, or with another compiler than that of the figures, the row is shown as ignored; with `SAMESEED_REQUIRE_PEERS=1` it fails.

use tests::{Outcome, Rows, cargo, programs, target_dir};

const NAME: &str = "the_engine_costs_as_many_instructions_as_it_did";

fn main() {
    let mut rows = Rows::default();
    match lacking() {
        None => rows.add(NAME, |_| check()),
        Some(reason) if programs::required() => rows.add(NAME, |_| Err(reason.into())),
        Some(reason) => rows.ignore(NAME, &reason),
    }
    rows.run();
}

fn lacking() -> Option<String> {
    let kept = include_str!("../instructions.txt").lines().find(|line| !line.starts_with('#')).unwrap_or_default();
    let compiler = programs::compiler().unwrap_or_default();
    if !programs::missing(&["valgrind"]).is_empty() {
        return Some("not installed: valgrind".into());
    }
    (compiler != kept).then(|| format!("the figures are of {kept}, and this is {compiler}"))
}

fn check() -> Outcome {
    let mut cargo = cargo();
    cargo.args(["run", "--locked", "--release", "--package", "tests", "--bin", "instructions", "--target-dir"]);
    let output = cargo.arg(target_dir().0).args(["--", "--check"]).output()?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into()) }
}
