//! The decisions of restore, from events to steps: a clean example, and one thing broken in each test.

mod intents;
mod plans;
mod refusals;
mod stages;
mod turns;
mod world;
