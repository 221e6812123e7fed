//! Servers that have just not answered: a command that needs one several times does not wait for it each time.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use milescale_workspace::error::StoreError;

/// How long a server that was silent is not tried again.
const LEFT_ALONE: Duration = Duration::from_secs(3);

static SILENT: LazyLock<Mutex<HashMap<String, (Instant, StoreError)>>> = LazyLock::new(Mutex::default);

/// Why the server of an address is not tried now.
pub(super) fn known(shown: &str) -> Option<StoreError> {
    let mut silent = SILENT.lock().unwrap_or_else(PoisonError::into_inner);
    silent.retain(|_, (since, _)| since.elapsed() < LEFT_ALONE);
    silent.get(shown).map(|(_, error)| error.clone())
}

/// Notes that no host of an address has answered.
pub(super) fn note(error: &StoreError) {
    let mut silent = SILENT.lock().unwrap_or_else(PoisonError::into_inner);
    silent.insert(error.place.clone(), (Instant::now(), error.clone()));
}
