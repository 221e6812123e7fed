//! Servers that are silent, addresses as libpq takes them, roles that may not.
