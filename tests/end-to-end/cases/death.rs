//! Kills, power cuts, and what comes after the restart.
