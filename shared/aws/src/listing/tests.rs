//! Listings that change, fail or are throttled while they are read.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use super::*;

const PAGE_SIZE: usize = 10;

/// A listing that changes while it is read: each call may add an item and take one away.
struct Account {
    ids: RefCell<BTreeSet<String>>,
    calls: Cell<u32>,
    retried_calls: Cell<u32>,
    in_flight: Cell<u32>,
    most_in_flight_retried: Cell<u32>,
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
            retried_calls: Cell::new(0),
            in_flight: Cell::new(0),
            most_in_flight_retried: Cell::new(0),
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
        if is_throttled && !request.is_retried {
            return Err(AwsError {
                operation: "ec2:DescribeSnapshots",
                code: Some("RequestLimitExceeded".to_owned()),
                message: "too many".to_owned(),
                request_id: None,
                certainly_refused: true,
            });
        }
        if request.is_retried && request.last_digits.is_some() {
            self.retried_calls.set(self.retried_calls.get() + 1);
            let most = self.most_in_flight_retried.get();
            self.most_in_flight_retried
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
    assert!(account.retried_calls.get() > 50);
    assert_eq!(
        account.most_in_flight_retried.get(),
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
