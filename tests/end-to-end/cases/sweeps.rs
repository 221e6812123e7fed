//! Old sides: what was written there is current, kept or named.
