//! The peer wire protocol: bytes and messages.
