//! Retiring, undoing, switching.
