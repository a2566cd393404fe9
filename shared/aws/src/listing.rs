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
//! Where EC2 throttles, the parts go on one page at a time, with the SDK's own patience.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use etcd_backup_core::aws::AwsError;
use futures::future::try_join_all;
use tokio::sync::{Mutex as TurnMutex, MutexGuard as Turn, Semaphore};

/// How many pages of a listing are asked for at the same time: a page of snapshots takes over a
/// megabyte, and two or three of them keep a core busy.
const PAGES_AT_ONCE: usize = 4;

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
    pub(crate) is_patient: bool,
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
            is_patient: true,
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
    // What these pages held comes again in the parts.
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

/// How the parts share EC2's patience and this function's memory: some at once, or one after the other
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
        let request = |is_patient| PageRequest {
            last_digits: Some(digits),
            token: token.clone(),
            is_patient,
        };
        let turn = self.turn().await;
        if turn.is_some() {
            return ask(request(true)).await;
        }
        match ask(request(false)).await {
            // What EC2 refuses, it refuses again.
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
mod tests {
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeSet;

    use super::*;

    const PAGE_SIZE: usize = 10;

    /// A listing that changes while it is read: each call may add an item and take one away.
    struct Account {
        ids: RefCell<BTreeSet<String>>,
        calls: Cell<u32>,
        patient_calls: Cell<u32>,
        in_flight: Cell<u32>,
        most_in_flight_patient: Cell<u32>,
        throttled_from: Option<u32>,
    }

    fn id(number: u64) -> String {
        format!("snap-{:017x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    impl Account {
        fn new(count: u64) -> Self {
            Self {
                ids: RefCell::new((0..count).map(id).collect()),
                calls: Cell::new(0),
                patient_calls: Cell::new(0),
                in_flight: Cell::new(0),
                most_in_flight_patient: Cell::new(0),
                throttled_from: None,
            }
        }

        async fn page(&self, request: PageRequest) -> Result<Page<String>, AwsError> {
            self.calls.set(self.calls.get() + 1);
            self.in_flight.set(self.in_flight.get() + 1);
            tokio::task::yield_now().await;
            let is_throttled = self
                .throttled_from
                .is_some_and(|from| self.calls.get() > from);
            self.in_flight.set(self.in_flight.get() - 1);
            if is_throttled && !request.is_patient {
                return Err(AwsError {
                    operation: "ec2:DescribeSnapshots",
                    code: Some("RequestLimitExceeded".to_owned()),
                    message: "too many".to_owned(),
                    request_id: None,
                    certainly_refused: true,
                });
            }
            if request.is_patient && request.last_digits.is_some() {
                self.patient_calls.set(self.patient_calls.get() + 1);
                let most = self.most_in_flight_patient.get();
                self.most_in_flight_patient
                    .set(most.max(self.in_flight.get()));
            }
            let ids = self.ids.borrow();
            let after = request.token.unwrap_or_default();
            let mut chosen = ids.range(after..).filter(|id| {
                request
                    .last_digits
                    .is_none_or(|digits| id.ends_with(digits))
            });
            let items = chosen.by_ref().take(PAGE_SIZE).cloned().collect();
            Ok(Page {
                items,
                next: chosen.next().cloned(),
            })
        }
    }

    fn sorted(mut ids: Vec<String>) -> Vec<String> {
        ids.sort();
        ids
    }

    #[tokio::test]
    async fn one_page_is_one_call() {
        let account = Account::new(PAGE_SIZE as u64);
        let ids = whole(SIXTEENTHS, async |request| account.page(request).await, Ok).await;
        assert_eq!(ids.unwrap().len(), PAGE_SIZE);
        assert_eq!(account.calls.get(), 1);
    }

    #[tokio::test]
    async fn two_pages_are_two_calls() {
        for count in [PAGE_SIZE + 1, 2 * PAGE_SIZE] {
            let account = Account::new(count as u64);
            let ids = whole(SIXTEENTHS, async |request| account.page(request).await, Ok).await;
            assert_eq!(ids.unwrap().len(), count);
            assert_eq!(account.calls.get(), 2);
        }
    }

    #[tokio::test]
    async fn without_parts_the_pages_come_one_after_the_other() {
        let account = Account::new(95);
        let asked = RefCell::new(Vec::new());
        let ask = async |request: PageRequest| {
            asked.borrow_mut().push(request.last_digits);
            account.page(request).await
        };
        let ids = whole(&[], ask, Ok).await.unwrap();
        let expected: Vec<_> = account.ids.borrow().iter().cloned().collect();
        assert_eq!(ids, expected);
        assert_eq!(*asked.borrow(), [None; 10]);
    }

    #[tokio::test]
    async fn more_pages_are_read_in_parts_that_miss_and_double_nothing() {
        for count in [21, 30, 160, 1_000, 2_345] {
            let account = Account::new(count);
            let ids = whole(SIXTEENTHS, async |request| account.page(request).await, Ok).await;
            let expected: Vec<_> = account.ids.borrow().iter().cloned().collect();
            assert_eq!(sorted(ids.unwrap()), expected);
            let pages = count.div_ceil(PAGE_SIZE as u64);
            assert!(u64::from(account.calls.get()) <= pages + 17);
        }
    }

    #[tokio::test]
    async fn what_stays_is_listed_once_whatever_appears_or_vanishes() {
        let account = Account::new(1_000);
        let added = Cell::new(1_000);
        let ids = whole(
            SIXTEENTHS,
            async |request| {
                let page = account.page(request).await;
                let mut ids = account.ids.borrow_mut();
                ids.insert(id(added.get()));
                // Every other of the first hundred vanishes, one with each call.
                ids.remove(&id((added.get() - 1_000) * 2 % 100));
                added.set(added.get() + 1);
                page
            },
            Ok,
        );
        let ids = sorted(ids.await.unwrap());
        let distinct: BTreeSet<_> = ids.iter().cloned().collect();
        assert_eq!(ids.len(), distinct.len(), "none is doubled");
        let stayed = (100..1_000).map(id);
        let missed: Vec<_> = stayed.filter(|id| !distinct.contains(id)).collect();
        assert_eq!(missed, [""; 0], "none that stayed is missed");
    }

    #[tokio::test]
    async fn throttled_parts_go_on_one_at_a_time() {
        let account = Account {
            throttled_from: Some(20),
            ..Account::new(1_000)
        };
        let ids = whole(SIXTEENTHS, async |request| account.page(request).await, Ok).await;
        let expected: Vec<_> = account.ids.borrow().iter().cloned().collect();
        assert_eq!(sorted(ids.unwrap()), expected);
        assert!(account.patient_calls.get() > 50);
        assert_eq!(
            account.most_in_flight_patient.get(),
            0,
            "no other is under way"
        );
    }

    #[tokio::test]
    async fn a_page_that_is_refused_once_fails_the_listing() {
        let account = Account::new(1_000);
        let was_refused = Cell::new(false);
        let ids = whole(
            SIXTEENTHS,
            async |request| {
                let is_later_one = request.last_digits == Some(&['7']) && request.token.is_some();
                if is_later_one && !was_refused.replace(true) {
                    return Err(AwsError {
                        operation: "ec2:DescribeSnapshots",
                        code: Some("UnauthorizedOperation".to_owned()),
                        message: "no".to_owned(),
                        request_id: None,
                        certainly_refused: true,
                    });
                }
                account.page(request).await
            },
            Ok,
        );
        assert!(ids.await.unwrap_err().is("UnauthorizedOperation"));
    }
}
