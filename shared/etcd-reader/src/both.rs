//! Two readers of one volume at the same time: one works while the other waits for a block.

use std::panic::resume_unwind;
use std::thread::{Builder, scope};

/// Does both, the second on a thread of its own where the system has one.
pub(crate) fn both<A, B: Send>(first: impl FnOnce() -> A, second: impl Fn() -> B + Sync) -> (A, B) {
    scope(|scope| {
        let begun = Builder::new().spawn_scoped(scope, &second);
        let first = first();
        let second = match begun {
            Ok(begun) => begun.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(_) => second(),
        };
        (first, second)
    })
}
