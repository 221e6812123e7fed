//! The archive is the same on every backend, and never in the way of a move.
