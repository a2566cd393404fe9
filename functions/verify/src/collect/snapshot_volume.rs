//! A snapshot as a volume that can be read: the bridge between the reader, which is synchronous and waits
//! for each block, and the calls that fetch blocks, many at the same time.
//!
//! The reader says which blocks it will want soon, and they are fetched in this order while it works. What
//! it asks for and nobody has begun to fetch is fetched at once.
//!
//! Invariants:
//!
//! - So many blocks are held or on their way, and so many calls under way, whatever was announced; and one more
//!   for each reader that waits for what nobody had begun to fetch.
//! - What came and nobody asked for is let go after a while, and not to make room: with several readers, each
//!   would take the place of what another one comes for next.
//! - A wait ends at the deadline.
//! - A block that failed fails whenever it is asked for, and keeps nobody from another one: what a reader finds
//!   doesn't depend on what others met before.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use etcd_backup_core::ids::SnapshotId;
use etcd_backup_core::snapshot_blocks::{
    BLOCK_BYTES, BlockError, BlockPage, ListedBlock, SnapshotBlocks,
};
use etcd_reader::ReadError;
use etcd_reader::block::BlockSource;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Blocks in a GiB.
const BLOCKS_PER_GIB: u64 = (1 << 30) / BLOCK_BYTES as u64;
/// The most blocks of a snapshot that are listed, some 13 MiB of memory: 64 GiB that were written, while
/// etcd's own limit is 8 GiB.
const LISTED_MAX: usize = 1 << 17;

/// The one code by which AWS says something of the snapshot itself. All others are of who asks, of how often, or
/// of AWS itself, and may be gone another time.
///
/// Source: EBS direct APIs reference, errors of `ListSnapshotBlocks` and `GetSnapshotBlock`.
const INVALID: &str = "ValidationException";
/// How codes begin that say that a permission is missing.
const DENIED: &str = "AccessDenied";

/// The snapshot to be read.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The snapshot.
    pub id: SnapshotId,
    /// The volume's size in GiB.
    pub size_gib: u64,
    /// The key that it is encrypted with, to be named where it can't be used.
    pub kms_key_id: Option<String>,
}

/// What reading may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// One permit for each call under way, of all snapshots together. Who is waited for goes without one, where all
    /// are taken.
    pub calls: Arc<Semaphore>,
    /// Calls under way of one snapshot, but for those that are waited for.
    pub calls_of_one_max: usize,
    /// Blocks of one snapshot that are held or on their way.
    pub held_max: usize,
    /// When waiting ends.
    pub deadline: Instant,
}

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Blocks that were fetched.
    pub blocks: u64,
    /// Calls that listed blocks.
    pub pages: u64,
    /// Blocks that were fetched and let go before anybody asked for them.
    pub unused: u64,
}

/// Why reading ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GaveUp {
    /// It would again: AWS doesn't give this snapshot's blocks, whoever asks.
    ForGood,
    /// Another time it may not: the time was up, AWS didn't answer, or a permission or a key was refused,
    /// which somebody may grant.
    ThisTime,
}

/// A snapshot whose blocks are fetched as they are needed.
pub struct SnapshotVolume<A: SnapshotBlocks + Clone + 'static>(Arc<Shared<A>>);

struct Shared<A> {
    aws: A,
    subject: Subject,
    limits: Limits,
    runtime: Handle,
    state: Mutex<State>,
    /// Something came, or failed.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// What is known of the listing, by ascending index.
    listed: Vec<ListedBlock>,
    /// Blocks below this index are listed, or were never written.
    listed_to: u64,
    held: HashMap<u64, Held>,
    /// How many of them are on their way.
    under_way: usize,
    /// Those that are here, in the order in which they came, and when; those taken since among them.
    came: VecDeque<(u64, u64)>,
    /// Counts what is asked for: one for each block, and more where nobody had begun to fetch it, as then something
    /// else may stand in its way.
    clock: u64,
    /// What was announced and isn't fetched yet, in order; those begun since among them.
    wanted: VecDeque<u64>,
    is_wanted: HashSet<u64>,
    failed: HashMap<u64, (GaveUp, String)>,
    /// The gravest that was told of those: what another time may bring.
    failed_as: Option<GaveUp>,
    /// Nothing more is read.
    gave_up: Option<(GaveUp, String)>,
    is_over: bool,
    traffic: Traffic,
}

/// Whether somebody waits for a block.
#[derive(Clone, Copy)]
enum Haste {
    /// It takes its turn among all calls.
    Announced,
    /// It goes at once: there are no more such calls than readers.
    Awaited,
}

enum Held {
    OnItsWay,
    /// On its way, though nobody will ask for it.
    Forgotten,
    Here {
        content: Arc<Vec<u8>>,
        /// What the clock said when it came.
        came: u64,
    },
}

impl<A: SnapshotBlocks + Clone + 'static> SnapshotVolume<A> {
    /// Begins to list the snapshot's blocks. Must be called inside a runtime.
    pub fn open(aws: &A, subject: Subject, limits: Limits) -> Self {
        let shared = Arc::new(Shared {
            aws: aws.clone(),
            subject,
            limits,
            runtime: Handle::current(),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        shared.runtime.spawn(list(Arc::clone(&shared)));
        Self(shared)
    }

    /// A snapshot of which it is known that it can't be read.
    pub fn unreadable(
        aws: &A,
        subject: Subject,
        limits: Limits,
        gave_up: GaveUp,
        why: String,
    ) -> Self {
        let state = State {
            gave_up: Some((gave_up, why)),
            ..State::default()
        };
        Self(Arc::new(Shared {
            aws: aws.clone(),
            subject,
            limits,
            runtime: Handle::current(),
            state: Mutex::new(state),
            changed: Condvar::new(),
        }))
    }

    /// What was read so far, and why something was not, where a reader was told so.
    pub fn outcome(&self) -> (Traffic, Option<GaveUp>) {
        let state = self.0.state();
        let gave_up = state.gave_up.as_ref().map(|(gave_up, _)| *gave_up);
        (state.traffic, gave_up.max(state.failed_as))
    }
}

impl<A: SnapshotBlocks + Clone + 'static> Drop for SnapshotVolume<A> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.is_over = true;
        state.wanted.clear();
        state.held.clear();
    }
}

impl<A: SnapshotBlocks + Clone + 'static> BlockSource for SnapshotVolume<A> {
    fn size_bytes(&self) -> u64 {
        (self.0.subject.size_gib * BLOCKS_PER_GIB).saturating_mul(BLOCK_BYTES as u64)
    }

    fn block(&self, index: u64) -> Result<Option<Arc<Vec<u8>>>, ReadError> {
        let shared = &self.0;
        let mut state = shared.state();
        loop {
            if let Some((_, why)) = &state.gave_up {
                return Err(ReadError::Unreadable(why.clone()));
            }
            if let Some((gave_up, why)) = state.failed.get(&index) {
                let (gave_up, why) = (*gave_up, why.clone());
                state.failed_as = state.failed_as.max(Some(gave_up));
                return Err(ReadError::Unreadable(why));
            }
            match state.held.get(&index) {
                Some(Held::Here { content, .. }) => {
                    let content = Arc::clone(content);
                    state.held.remove(&index);
                    state.clock += 1;
                    shared.fetch_wanted(&mut state);
                    return Ok(Some(content));
                }
                None if index < state.listed_to => {
                    if state.token(index).is_none() {
                        return Ok(None);
                    }
                    state.clock += shared.limits.held_max as u64 / 2;
                    state.bring_forward(index);
                    shared.fetch(&mut state, index, Haste::Awaited);
                    shared.fetch_wanted(&mut state);
                }
                Some(Held::Forgotten) => {
                    state.held.insert(index, Held::OnItsWay);
                }
                None | Some(Held::OnItsWay) => {}
            }
            let now = Instant::now();
            if now >= shared.limits.deadline {
                state.gave_up = Some((
                    GaveUp::ThisTime,
                    "The time was up before it was read".to_owned(),
                ));
                continue;
            }
            let wait = shared
                .changed
                .wait_timeout(state, shared.limits.deadline - now);
            state = wait.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn prefetch(&self, indexes: &[u64]) {
        let mut state = self.0.state();
        let state = &mut *state;
        for index in indexes {
            match state.held.get_mut(index) {
                Some(held @ Held::Forgotten) => *held = Held::OnItsWay,
                Some(Held::OnItsWay | Held::Here { .. }) => {}
                None if state.is_wanted.insert(*index) => state.wanted.push_back(*index),
                None => {}
            }
        }
        self.0.fetch_wanted(state);
    }

    fn forget(&self, indexes: &[u64]) {
        let mut state = self.0.state();
        for index in indexes {
            state.is_wanted.remove(index);
            match state.held.remove(index) {
                Some(Held::Here { .. }) => state.traffic.unused += 1,
                Some(Held::OnItsWay | Held::Forgotten) => {
                    state.held.insert(*index, Held::Forgotten);
                }
                None => {}
            }
        }
        self.0.fetch_wanted(&mut state);
    }
}

impl State {
    fn token(&self, index: u64) -> Option<&ListedBlock> {
        let place = self
            .listed
            .binary_search_by_key(&index, |block| block.index);
        self.listed.get(place.ok()?)
    }

    /// Has what was announced from a block on fetched before what was announced earlier, and nobody came for.
    fn bring_forward(&mut self, index: u64) {
        let place = self.wanted.iter().position(|wanted| *wanted == index);
        self.wanted.rotate_left(place.unwrap_or(0));
    }

    /// Lets go of what came long ago and wasn't asked for: it was announced in vain, or so early that it will be
    /// fetched again.
    fn let_go(&mut self, held_max: usize) {
        let long_ago = self.clock.saturating_sub(4 * held_max as u64);
        while let Some((index, came_then)) = self.came.pop_front_if(|(_, came)| *came < long_ago) {
            if let Some(Held::Here { came, .. }) = self.held.get(&index)
                && *came == came_then
            {
                self.held.remove(&index);
                self.traffic.unused += 1;
            }
        }
    }

    fn add(&mut self, page: BlockPage) {
        self.traffic.pages += 1;
        // A page says nothing of what is beyond its last block, unless it is the last page.
        let after = page.blocks.last().map(|block| block.index + 1);
        self.listed_to = if page.next.is_some() {
            after.unwrap_or(self.listed_to).max(self.listed_to)
        } else {
            u64::MAX
        };
        self.listed.extend(page.blocks);
        if !self.listed.is_sorted_by_key(|block| block.index) {
            self.listed.sort_by_key(|block| block.index);
        }
    }
}

impl<A: SnapshotBlocks + Clone + 'static> Shared<A> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to fetch what was announced, as far as there is room for it.
    fn fetch_wanted(self: &Arc<Self>, state: &mut State) {
        state.let_go(self.limits.held_max);
        while state.under_way < self.limits.calls_of_one_max
            && state.held.len() < self.limits.held_max
        {
            let Some(&index) = state.wanted.front() else {
                return;
            };
            if state.is_wanted.contains(&index) && index >= state.listed_to {
                return;
            }
            state.wanted.pop_front();
            if state.is_wanted.remove(&index) {
                self.fetch(state, index, Haste::Announced);
            }
        }
    }

    /// Begins to fetch a block; one that was never written, or that is on its way, is left alone.
    fn fetch(self: &Arc<Self>, state: &mut State, index: u64, haste: Haste) {
        state.is_wanted.remove(&index);
        if state.is_over || state.held.contains_key(&index) {
            return;
        }
        let Some(block) = state.token(index).cloned() else {
            return;
        };
        state.held.insert(index, Held::OnItsWay);
        state.under_way += 1;
        self.runtime.spawn(fetch(Arc::clone(self), block, haste));
    }

    fn put(self: &Arc<Self>, index: u64, fetched: Result<Arc<Vec<u8>>, BlockError>) {
        let mut state = self.state();
        state.under_way -= 1;
        let is_forgotten = matches!(state.held.remove(&index), Some(Held::Forgotten));
        match fetched {
            Ok(content) => {
                state.traffic.blocks += 1;
                if is_forgotten {
                    state.traffic.unused += 1;
                } else if !state.is_over {
                    let came = state.clock;
                    state.held.insert(index, Held::Here { content, came });
                    state.came.push_back((index, came));
                }
            }
            Err(_) if is_forgotten => {}
            Err(error) => {
                let failure = self.failure(&error);
                state.failed.insert(index, failure);
            }
        }
        self.fetch_wanted(&mut state);
        drop(state);
        self.changed.notify_all();
    }

    /// What to say of an error, and whether it would come again.
    fn failure(&self, error: &BlockError) -> (GaveUp, String) {
        let Subject { id, kms_key_id, .. } = &self.subject;
        match error {
            BlockError::Key(error) => {
                let key = kms_key_id.as_deref().unwrap_or("the account's default key");
                let why = format!(
                    "The KMS key that {id} is encrypted with, {key}, can't be used by verify: {error}. Name it in the stack's parameter KmsKeyArns, and let the key's policy allow the account's roles"
                );
                (GaveUp::ThisTime, why)
            }
            BlockError::Aws(error) => {
                let gave_up = if error.certainly_refused && error.is(INVALID) {
                    GaveUp::ForGood
                } else {
                    GaveUp::ThisTime
                };
                let advice = if error
                    .code
                    .as_deref()
                    .is_some_and(|code| code.starts_with(DENIED))
                {
                    format!(
                        ". Let verify's role have {}: no policy, permissions boundary or service control policy may refuse it",
                        error.operation
                    )
                } else {
                    String::new()
                };
                (gave_up, format!("{id} can't be read: {error}{advice}"))
            }
        }
    }
}

async fn fetch<A: SnapshotBlocks + Clone + 'static>(
    shared: Arc<Shared<A>>,
    block: ListedBlock,
    haste: Haste,
) {
    let _permit = match haste {
        // Closed by nobody.
        Haste::Announced => shared.limits.calls.acquire().await.ok(),
        Haste::Awaited => shared.limits.calls.try_acquire().ok(),
    };
    if shared.state().is_over {
        return;
    }
    let fetched = shared.aws.block(&shared.subject.id, &block).await;
    shared.put(block.index, fetched);
}

/// Lists all blocks, page by page; reading begins with the first page.
async fn list<A: SnapshotBlocks + Clone + 'static>(shared: Arc<Shared<A>>) {
    let mut next = None;
    loop {
        let page = {
            let Ok(_permit) = shared.limits.calls.acquire().await else {
                return;
            };
            shared
                .aws
                .block_page(&shared.subject.id, next.as_deref())
                .await
        };
        let mut state = shared.state();
        match page {
            Ok(page) => {
                next.clone_from(&page.next);
                state.add(page);
            }
            Err(error) => {
                state.gave_up = Some(shared.failure(&error));
                next = None;
            }
        }
        if state.listed.len() > LISTED_MAX {
            let why = format!(
                "More than {} GiB of the volume were written, which is more than this reader lists",
                LISTED_MAX as u64 / BLOCKS_PER_GIB
            );
            state.gave_up = Some((GaveUp::ForGood, why));
            next = None;
        }
        shared.fetch_wanted(&mut state);
        let is_over = state.is_over || next.is_none();
        drop(state);
        shared.changed.notify_all();
        if is_over {
            return;
        }
    }
}
