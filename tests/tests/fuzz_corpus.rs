//! Every input that a fuzz target has kept is tried again, on the stable toolchain and without the fuzzing engine.

use std::path::Path;

#[path = "../../fuzz/src/wire_decoder.rs"]
mod wire_decoder;

fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut inputs: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "{} is empty", folder.display());
    for input in inputs {
        println!("{}", input.display());
        check(&std::fs::read(input).unwrap());
    }
}

#[test]
fn wire_decoder_holds_its_laws_on_the_corpus() {
    replay("wire_decoder", wire_decoder::check);
}
