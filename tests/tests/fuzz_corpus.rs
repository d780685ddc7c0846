//! Every input that a fuzz target has kept is tried again, on the stable toolchain and without the fuzzing engine.

use std::path::Path;

#[path = "../../fuzz/src/wire_decoder.rs"]
pub mod wire_decoder;

fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut inputs: Vec<_> = std::fs::read_dir(&folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
        .expect("the corpus can be listed");
    inputs.sort();
    assert!(!inputs.is_empty(), "{} is empty", folder.display());
    for input in inputs {
        let bytes = std::fs::read(&input).expect("the corpus can be read");
        let outcome = std::panic::catch_unwind(|| check(&bytes));
        assert!(outcome.is_ok(), "{} breaks a law", input.display());
    }
}

#[test]
fn wire_decoder_holds_its_laws_on_the_corpus() {
    replay("wire_decoder", wire_decoder::check);
}
