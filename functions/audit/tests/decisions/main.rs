//! What the audit decides and shows of accounts as it reads them: clean ones, and ones in which one thing
//! is broken.

mod clean;
mod generations;
mod history;
mod lifecycle_manager;
mod metrics;
mod orphans;
mod policies;
mod presence;
mod restores;
mod runs;
mod strangers;
mod texts;
mod verdicts;
mod volumes;
mod walk;
mod widget;
mod world;
