//! Servers, addresses, streams and stamps as the world gives them.

mod stamps;
mod streams;
