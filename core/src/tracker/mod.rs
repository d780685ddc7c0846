//! What trackers are sent and what they answer.
