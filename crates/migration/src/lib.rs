//! Moving milestones between stores (contract §8): plan → backup → copy → compare → switch → sweep, online, compared,
//! reversible; and the recovery after a crash.
//!
//! Stores are known only by their trait. Every step is written down before it begins ([`milescale_workspace::record`]), and
//! [`milescale_core::migration`] says which may follow which; what each change on an old store comes to, says
//! [`milescale_core::base`].

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests look with their own eyes"))]

mod backup;
mod compare;
mod context;
mod copy;
mod followed;
pub mod identity;
mod keeping;
mod level;
mod machine;
mod moving;
mod on_the_way;
mod plan;
mod preflight;
mod recover;
mod restore;
mod retire;
mod sweep;
mod told;

pub use context::{Context, Error, take_lock};
pub use followed::{Last, follow, follow_unread};
pub use machine::network_file_system;
pub use moving::adopt::Comparison;
pub use moving::{Done, migrate};
pub use plan::{Obstacle, Plan, Wish, plan};
pub use recover::{Recovered, Said, recover};
pub use restore::{Restored, restore, store_of};
pub use retire::{Retired, retire};
pub use sweep::memory::{Failing, Held, Memory, OfSide};
pub use sweep::{Holding, Sweeper, Swept};
pub use told::{Progress, Told};
