//! The property of each fuzz target, apart from the fuzzing engine, so that the corpora are also replayed by an ordinary test.

pub mod wire_decoder;
