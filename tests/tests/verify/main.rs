//! verify, from end to end: the real binary reads real members' volumes out of snapshots, over HTTP.

mod events;
mod faults;
mod given_sets;
mod large;
mod made_sets;
mod secrets;
mod sweep;
mod verdicts;
