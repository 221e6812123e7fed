//! Numbers and scalars.
