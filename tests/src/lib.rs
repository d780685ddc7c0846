//! Helpers of the tests in `tests/tests`: the binary under test, processes, content, and real programs that no one here wrote.

mod binary;

pub use binary::{cargo, sameseed_binary, target_dir, workspace_root};
