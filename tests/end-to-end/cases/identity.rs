//! Whose table it is, and whether a COMMIT happened.
