//! Every law of a `check_invariants` is broken once by hand, and must be the one that complains. A law without its breach is a failure too.

extern crate std;

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A law, in the words of its assertion, and what breaks it.
pub(crate) type Breach<T> = (&'static str, fn(&mut T));

/// Breaks each law of `source` on a fresh `intact` state.
pub(crate) fn check_breaches<T>(source: &str, intact: impl Fn() -> T, check: fn(&T), breaches: &[Breach<T>]) {
    check(&intact());
    let told: BTreeSet<String> = breaches.iter().map(|(law, _)| String::from(*law)).collect();
    assert_eq!(laws_of(source), told, "each law of the source has its breach");
    for (law, breach) in breaches {
        let mut state = intact();
        breach(&mut state);
        assert_eq!(complaint(|| check(&state)).as_deref(), Some(*law));
    }
}

/// What a broken law says: the words of its assertion.
fn complaint(check: impl FnOnce()) -> Option<String> {
    let panic = catch_unwind(AssertUnwindSafe(check)).err()?;
    let plain = panic.downcast_ref::<&str>().map(|text| String::from(*text));
    let text = plain.or_else(|| panic.downcast_ref::<String>().cloned())?;
    let words = text.strip_prefix("assertion `left == right` failed: ").unwrap_or(&text);
    words.lines().next().map(String::from)
}

/// The words of all assertions in the functions `check_…` of a source.
fn laws_of(source: &str) -> BTreeSet<String> {
    let mut laws = BTreeSet::new();
    for body in source.split("fn check_").skip(1) {
        let body = body.split("\n    }\n").next().unwrap_or_default();
        let asserted: Vec<&str> = body.split("assert").skip(1).collect();
        laws.extend(asserted.iter().filter_map(|rest| rest.split('"').nth(1)).map(String::from));
    }
    laws
}

#[test]
fn laws_are_found_in_a_source() {
    let source = "fn check_invariants(&self) {\n assert!(a, \"one\");\n assert_eq!(\n a,\n b,\n \"two\"\n );\n    }\n fn other() { assert!(a, \"no\"); }";
    assert_eq!(laws_of(source).into_iter().collect::<Vec<_>>(), ["one", "two"]);
}
