//! One file a verb.

pub(crate) mod check;
pub(crate) mod config;
pub(crate) mod dashboard;
pub(crate) mod doctor;
pub(crate) mod events;
pub(crate) mod init;
pub(crate) mod manual;
pub(crate) mod milestone;
pub(crate) mod run;
pub(crate) mod status;
