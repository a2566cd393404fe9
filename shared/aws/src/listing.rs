//! Whole listings, page by page, of large accounts in parts at the same time.
//!
//! EC2 pages a listing one page after the other: 140 pages at 40 ms each are 6 seconds of waiting. Ids
//! end in a hexadecimal digit that says nothing else, so filters on it split a listing into sixteen
//! parts: every item is in exactly one, whatever else appears or vanishes meanwhile. The first page shows
//! whether that pays. A listing of one page stays one call; a longer one costs its pages and at most
//! seventeen calls more, for the first page is asked for again in its parts, and the last page of each
//! part isn't full.
//!
//! Where EC2 throttles, the parts go on one page at a time, with the SDK's own patience.

use std::sync::atomic::{AtomicBool, Ordering};

use etcd_backup_core::aws::AwsError;
use futures::future::try_join_all;
use tokio::sync::{Mutex, MutexGuard};

const DIGITS: [char; 16] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
];

/// One page to be asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PageRequest {
    /// The digit in which the ids end; `None` for all.
    pub(crate) last_digit: Option<char>,
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

/// Everything that a listing has. `page` asks for one page.
///
/// # Errors
///
/// When any page can't be read.
pub(crate) async fn whole<Item>(
    page: impl AsyncFn(PageRequest) -> Result<Page<Item>, AwsError>,
) -> Result<Vec<Item>, AwsError> {
    let first = page(PageRequest {
        is_patient: true,
        ..PageRequest::default()
    });
    let first = first.await?;
    if first.next.is_none() {
        return Ok(first.items);
    }
    // What the first page held comes again in the parts.
    drop(first);
    let pace = Pace::default();
    let parts = DIGITS.map(|digit| part(&page, digit, &pace));
    Ok(try_join_all(parts).await?.into_iter().flatten().collect())
}

async fn part<Item>(
    page: &impl AsyncFn(PageRequest) -> Result<Page<Item>, AwsError>,
    digit: char,
    pace: &Pace,
) -> Result<Vec<Item>, AwsError> {
    let mut items = Vec::new();
    let mut token = None;
    loop {
        let got = pace.page(page, digit, token).await?;
        items.extend(got.items);
        token = got.next;
        if token.is_none() {
            return Ok(items);
        }
    }
}

/// How the parts share EC2's patience: all at once, or one after the other since EC2 throttled.
#[derive(Default)]
struct Pace {
    was_throttled: AtomicBool,
    one_at_a_time: Mutex<()>,
}

impl Pace {
    async fn page<Item>(
        &self,
        page: &impl AsyncFn(PageRequest) -> Result<Page<Item>, AwsError>,
        digit: char,
        token: Option<String>,
    ) -> Result<Page<Item>, AwsError> {
        let request = |is_patient| PageRequest {
            last_digit: Some(digit),
            token: token.clone(),
            is_patient,
        };
        let turn = self.turn().await;
        if turn.is_some() {
            return page(request(true)).await;
        }
        match page(request(false)).await {
            Err(error) => {
                if is_throttling(&error) {
                    self.was_throttled.store(true, Ordering::Relaxed);
                }
                // Whatever failed, the SDK tries again as often as it does elsewhere.
                let _turn = self.turn().await;
                page(request(true)).await
            }
            got => got,
        }
    }

    /// Waits for its turn, where turns are taken.
    async fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        if self.was_throttled.load(Ordering::Relaxed) {
            Some(self.one_at_a_time.lock().await)
        } else {
            None
        }
    }
}

fn is_throttling(error: &AwsError) -> bool {
    ["RequestLimitExceeded", "Throttling", "ThrottlingException"]
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
            let is_throttled = self.throttled_from.is_some_and(|from| self.calls.get() > from);
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
            if request.is_patient && request.last_digit.is_some() {
                self.patient_calls.set(self.patient_calls.get() + 1);
                let most = self.most_in_flight_patient.get();
                self.most_in_flight_patient.set(most.max(self.in_flight.get()));
            }
            let ids = self.ids.borrow();
            let after = request.token.unwrap_or_default();
            let mut chosen = ids
                .range(after..)
                .filter(|id| request.last_digit.is_none_or(|digit| id.ends_with(digit)));
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
        let ids = whole(async |request| account.page(request).await).await;
        assert_eq!(ids.unwrap().len(), PAGE_SIZE);
        assert_eq!(account.calls.get(), 1);
    }

    #[tokio::test]
    async fn more_pages_are_read_in_parts_that_miss_and_double_nothing() {
        for count in [11, 16, 160, 1_000, 2_345] {
            let account = Account::new(count);
            let ids = whole(async |request| account.page(request).await).await;
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
        let ids = whole(async |request| {
            let page = account.page(request).await;
            let mut ids = account.ids.borrow_mut();
            ids.insert(id(added.get()));
            // Every other of the first hundred vanishes, one with each call.
            ids.remove(&id((added.get() - 1_000) * 2 % 100));
            added.set(added.get() + 1);
            page
        });
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
        let ids = whole(async |request| account.page(request).await).await;
        let expected: Vec<_> = account.ids.borrow().iter().cloned().collect();
        assert_eq!(sorted(ids.unwrap()), expected);
        assert!(account.patient_calls.get() > 50);
        assert_eq!(account.most_in_flight_patient.get(), 0, "no other is under way");
    }

    #[tokio::test]
    async fn a_page_that_fails_fails_the_listing() {
        let account = Account::new(1_000);
        let ids = whole(async |request| {
            if request.last_digit == Some('7') && request.token.is_some() {
                return Err(AwsError {
                    operation: "ec2:DescribeSnapshots",
                    code: Some("UnauthorizedOperation".to_owned()),
                    message: "no".to_owned(),
                    request_id: None,
                    certainly_refused: true,
                });
            }
            account.page(request).await
        });
        assert!(ids.await.unwrap_err().is("UnauthorizedOperation"));
    }
}
