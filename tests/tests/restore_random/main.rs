//! restore, in random sequences of restores, undos and redos, plans, kills, failed calls, lost volumes,
//! stripped tags and new runs: whatever the order, it ends as a model says that knows nothing of tags and
//! records; masters never find two volumes for a member, launches are resumed only where they find
//! exactly one for each, and the cluster can always be restored and put back.
//!
//! `RESTORE_SEQUENCES` sets how many are played, `RESTORE_SEED` which is the first; a failure prints its
//! seed and its whole transcript.

mod model;
mod moves;
mod play;
mod rng;
mod world;

use std::io::Write;
use std::sync::Arc;

use tokio::sync::Semaphore;

use play::Play;
use rng::Rng;
use world::World;

const SEQUENCES: u64 = 300;
const MOVES: usize = 7;
/// Sequences at the same time: they mostly wait.
const AT_ONCE: usize = 32;
/// Failures that are told in full.
const TOLD: usize = 3;

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|error| panic!("{name}: {error}")),
        Err(_) => default,
    }
}

/// Plays one sequence; an error is its transcript.
async fn play(seed: u64, worlds: &[(usize, World)]) -> Result<(), String> {
    let mut rng = Rng::new(seed);
    let weighted: Vec<_> = worlds
        .iter()
        .map(|(weight, world)| (*weight, world))
        .collect();
    let world = rng.weighted(&weighted).fork().await;
    let mut play = Play::new(world).await;
    let told = |play: &Play, wrong: String| format!("seed {seed}: {wrong}\n{}", play.transcript());
    for _ in 0..MOVES {
        let next = moves::next(&mut rng, &play.model, play.world());
        if let Err(wrong) = play.make(next).await {
            return Err(told(&play, wrong));
        }
    }
    match play.settle().await {
        Ok(()) => Ok(()),
        Err(wrong) => Err(told(&play, wrong)),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_ends_as_the_model_says() {
    let worlds = Arc::new([
        (40, World::three_masters().await),
        (20, World::one_master().await),
        (25, World::replaced_masters().await),
        (15, World::protokube().await),
    ]);
    let first = setting("RESTORE_SEED", 1);
    let count = setting("RESTORE_SEQUENCES", SEQUENCES);
    let at_once = Arc::new(Semaphore::new(AT_ONCE));
    let tries: Vec<_> = (first..first + count)
        .map(|seed| {
            let (worlds, at_once) = (Arc::clone(&worlds), Arc::clone(&at_once));
            let try_it = tokio::spawn(async move {
                let _permit = at_once.acquire().await.expect("it is never closed");
                play(seed, &*worlds).await
            });
            (seed, try_it)
        })
        .collect();
    let mut failures = Vec::new();
    for (seed, tried) in tries {
        match tried.await {
            Ok(Ok(())) => {}
            Ok(Err(transcript)) => failures.push(transcript),
            Err(panicked) => failures.push(format!("seed {seed}: {panicked}")),
        }
    }
    // Past the capture of a test's output.
    let _ = writeln!(
        std::io::stdout(),
        "{count} sequences from seed {first} on, {} failed",
        failures.len()
    );
    let seeds: Vec<_> = failures
        .iter()
        .map(|transcript| transcript.lines().next())
        .collect();
    let told = failures
        .iter()
        .take(TOLD)
        .cloned()
        .collect::<Vec<_>>()
        .join("\n\n");
    assert!(failures.is_empty(), "{seeds:#?}\n\n{told}");
}
