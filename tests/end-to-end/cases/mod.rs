//! One test for each case that was found from outside, named by its number: `l01_…`, `p08_…`, `e03_…`. The harness of foreign
//! acts is judged with these switched off (`-E 'not test(cases::)'`).

mod archive;
mod connections;
mod death;
mod gone;
mod identity;
mod locks;
mod memory;
mod moves;
mod named;
mod plans;
mod restoring;
mod sweeps;
mod switch;
mod undone;
mod values;
mod words;
