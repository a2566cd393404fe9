//! Whole listings, page by page, of large accounts in parts at the same time.
//!
//! EC2 pages a listing one page after the other: 140 pages at 40 ms each are 6 seconds of waiting. Ids
//! end in a hexadecimal digit that says nothing else, so filters on it split a listing into parts: every
//! item is in exactly one, whatever else appears or vanishes meanwhile. The first pages show whether that
//! pays: a listing of two pages is read one after the other. A longer one costs its pages, two more for the
//! first ones, which are asked for again in their parts, and at most one more for each part but one, as
//! their last pages aren't full.
//!
//! Each page is turned into items as it comes: what is in memory is the items, and the pages under way.
//!
//! Where EC2 throttles, the parts go on one page at a time, and the SDK tries each again as it does elsewhere.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use etcd_backup_core::aws::AwsError;
use futures::future::try_join_all;
use tokio::sync::{Mutex as TurnMutex, MutexGuard as Turn, Semaphore};

/// How many pages of a listing are asked for at the same time: a page of snapshots takes over a
/// megabyte, a core reads one in some 10 ms, and EC2 takes several times as long to give it.
const PAGES_AT_ONCE: usize = 8;

/// How many pages of a listing are read one after the other before it is read in parts.
const PAGES_IN_A_ROW: usize = 2;

/// The last digits of the ids of each part.
pub(crate) type Parts = &'static [&'static [char]];

/// A part for each digit.
pub(crate) const SIXTEENTHS: Parts = &[
    &['0'],
    &['1'],
    &['2'],
    &['3'],
    &['4'],
    &['5'],
    &['6'],
    &['7'],
    &['8'],
    &['9'],
    &['a'],
    &['b'],
    &['c'],
    &['d'],
    &['e'],
    &['f'],
];

/// One page to be asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PageRequest {
    /// The digits in which the ids end; `None` for all.
    pub(crate) last_digits: Option<&'static [char]>,
    /// Where it goes on.
    pub(crate) token: Option<String>,
    /// Whether to wait and try again where EC2 throttles, or to fail at once.
    pub(crate) is_retried: bool,
}

/// A page, and where the next one begins if there is one.
pub(crate) struct Page<Item> {
    pub(crate) items: Vec<Item>,
    pub(crate) next: Option<String>,
}

/// Everything that a listing has. `ask` asks for one page, and `read` turns the answer into items. Without
/// any parts the pages are asked for one after the other.
///
/// # Errors
///
/// When any page can't be had or read.
pub(crate) async fn whole<Answer, Item>(
    parts: Parts,
    ask: impl AsyncFn(PageRequest) -> Result<Answer, AwsError>,
    mut read: impl FnMut(Answer) -> Result<Page<Item>, AwsError>,
) -> Result<Vec<Item>, AwsError> {
    let (mut items, mut token, mut pages) = (Vec::new(), None, 0);
    loop {
        let next = PageRequest {
            token,
            is_retried: true,
            ..PageRequest::default()
        };
        let page = read(ask(next).await?)?;
        items.extend(page.items);
        token = page.next;
        pages += 1;
        if token.is_none() {
            return Ok(items);
        }
        if pages == PAGES_IN_A_ROW && !parts.is_empty() {
            break;
        }
    }
    // The items of these pages come again in the parts.
    drop(items);
    let listing = Listing {
        ask,
        read_so_far: Mutex::new((read, Vec::new())),
        pace: Pace::default(),
    };
    try_join_all(parts.iter().map(|digits| listing.part(digits))).await?;
    let read_so_far = listing.read_so_far.into_inner();
    let (_, mut items) = read_so_far.unwrap_or_else(PoisonError::into_inner);
    items.shrink_to_fit();
    Ok(items)
}

/// A listing in parts.
struct Listing<Ask, Read, Item> {
    ask: Ask,
    read_so_far: Mutex<(Read, Vec<Item>)>,
    pace: Pace,
}

impl<Ask, Read, Answer, Item> Listing<Ask, Read, Item>
where
    Ask: AsyncFn(PageRequest) -> Result<Answer, AwsError>,
    Read: FnMut(Answer) -> Result<Page<Item>, AwsError>,
{
    async fn part(&self, digits: &'static [char]) -> Result<(), AwsError> {
        let mut token = None;
        loop {
            token = self.page(digits, token).await?;
            if token.is_none() {
                return Ok(());
            }
        }
    }

    /// Adds a page's items to those of all parts, and gives the next one's token.
    async fn page(
        &self,
        digits: &'static [char],
        token: Option<String>,
    ) -> Result<Option<String>, AwsError> {
        let _place = self.pace.place().await;
        let answer = self.pace.ask(&self.ask, digits, token).await?;
        let mut read_so_far = self
            .read_so_far
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (read, items) = &mut *read_so_far;
        let page = read(answer)?;
        items.extend(page.items);
        Ok(page.next)
    }
}

/// How the parts share what EC2 allows and this function's memory: some at once, or one after the other
/// since EC2 throttled.
struct Pace {
    places: Semaphore,
    was_throttled: AtomicBool,
    one_at_a_time: TurnMutex<()>,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            places: Semaphore::new(PAGES_AT_ONCE),
            was_throttled: AtomicBool::new(false),
            one_at_a_time: TurnMutex::new(()),
        }
    }
}

impl Pace {
    async fn ask<Answer>(
        &self,
        ask: &impl AsyncFn(PageRequest) -> Result<Answer, AwsError>,
        digits: &'static [char],
        token: Option<String>,
    ) -> Result<Answer, AwsError> {
        let request = |is_retried| PageRequest {
            last_digits: Some(digits),
            token: token.clone(),
            is_retried,
        };
        let turn = self.turn().await;
        if turn.is_some() {
            return ask(request(true)).await;
        }
        match ask(request(false)).await {
            // EC2 would refuse the same call again.
            Err(error) if error.certainly_refused && !is_throttling(&error) => Err(error),
            Err(error) => {
                if is_throttling(&error) {
                    self.was_throttled.store(true, Ordering::Relaxed);
                }
                // The SDK tries again as often as it does elsewhere.
                let _turn = self.turn().await;
                ask(request(true)).await
            }
            answer => answer,
        }
    }

    /// Waits for one of the places. The semaphore is never closed.
    async fn place(&self) -> Option<tokio::sync::SemaphorePermit<'_>> {
        self.places.acquire().await.ok()
    }

    /// Waits for its turn, where turns are taken.
    async fn turn(&self) -> Option<Turn<'_, ()>> {
        if self.was_throttled.load(Ordering::Relaxed) {
            Some(self.one_at_a_time.lock().await)
        } else {
            None
        }
    }
}

fn is_throttling(error: &AwsError) -> bool {
    [
        "EC2ThrottledException",
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingException",
    ]
    .iter()
    .any(|code| error.is(code))
}

#[cfg(test)]
mod tests;
