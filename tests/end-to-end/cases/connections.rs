//! Servers, addresses, streams and stamps as the world gives them.

mod addresses;
mod proxy;
mod replication;
mod silence;
mod stamps;
mod streams;
