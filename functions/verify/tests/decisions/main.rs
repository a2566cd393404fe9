//! What verify decides: what it reads, when a verdict is final, and on what it is written.

mod assessments;
mod choices;
mod world;
