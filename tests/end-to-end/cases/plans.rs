//! What a plan says is true.
