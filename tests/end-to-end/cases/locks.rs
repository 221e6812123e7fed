//! Locks that cannot be had, and waits that end.
