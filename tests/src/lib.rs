//! Helpers of the tests in `tests/tests`.
