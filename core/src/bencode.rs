//! Bencode with limits.
