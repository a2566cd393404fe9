//! The lease of a cluster, and the records written under it: the real adapter against the emulated
//! DynamoDB, with answers lost, late and refused.

use std::time::Duration;

use e2e::{EmulatedAws, Fault, RESTORES_TABLE};
use etcd_backup_aws::Aws;
use etcd_backup_core::ids::ClusterName;
use etcd_backup_core::restore_table::{
    LeaseHolder, RecordNumber, RestoreTable, StoredLease, StoredRecord, Tokens, Written,
};
use restore::act::lease::{
    ENDS_EARLY, LASTS, Lease, LeaseKey, LeaseOutcome, LeasedWork, RENEWED_EVERY, RecordError,
    RecordSlot,
};
use tokio::time::{Instant, sleep, timeout};

const CLUSTER: &str = "k8s.mycompany.tld";
const EVENT: &str = "an event";
const OTHER_EVENT: &str = "another event";
/// Long enough for everything that a test waits for, on the slowest machine too.
const WAIT_MAX: Duration = Duration::from_secs(600);

fn key() -> LeaseKey {
    LeaseKey {
        table: RESTORES_TABLE.to_owned(),
        cluster: CLUSTER.into(),
    }
}

fn table(aws: &EmulatedAws) -> Aws {
    Aws::new(aws.sdk_config().clone())
}

fn work(event: &str) -> LeasedWork<'_> {
    LeasedWork {
        event,
        restore_id: None,
    }
}

/// Asks for the lease as an invocation would.
async fn ask(aws: &EmulatedAws, invocation: &str, event: &str, within: Duration) -> LeaseOutcome {
    let deadline = Instant::now() + within;
    let tokens = Tokens::new(invocation);
    let taking = Lease::take(&table(aws), key(), tokens, work(event), deadline).await;
    taking.unwrap()
}

async fn take(aws: &EmulatedAws, invocation: &str, event: &str) -> Lease {
    match ask(aws, invocation, event, WAIT_MAX).await {
        LeaseOutcome::Held(lease) => lease,
        other => panic!("{invocation}: {other:?}"),
    }
}

/// How often the lease was looked at since calls were cleared last: who waits for it looks twice a second, so
/// that this tells for how long, on whatever machine.
async fn looks(aws: &EmulatedAws) -> usize {
    let calls = aws.calls().await;
    let is_look = |call: &&e2e::Call| call.operation == "GetItem" && call.attempt == 1;
    let looks = calls.iter().filter(is_look);
    looks.count()
}

/// Takes the lease without having to wait for it.
async fn take_at_once(aws: &EmulatedAws, invocation: &str, event: &str) -> Lease {
    aws.clear_calls().await;
    let lease = take(aws, invocation, event).await;
    assert_eq!(looks(aws).await, 1, "{invocation}");
    lease
}

async fn stored(aws: &EmulatedAws) -> StoredLease {
    let lease = table(aws).lease(RESTORES_TABLE, &CLUSTER.into()).await;
    lease.unwrap().expect("the lease was taken once")
}

/// Whether the lease is held for certain now.
async fn holds(lease: &Lease) -> bool {
    lease.during(async {}).await.is_ok()
}

#[tokio::test]
async fn a_lease_goes_from_hand_to_hand_without_a_wait() {
    let aws = EmulatedAws::start().await;
    for (invocation, event) in [("one", EVENT), ("two", OTHER_EVENT), ("three", EVENT)] {
        let lease = take_at_once(&aws, invocation, event).await;
        assert!(holds(&lease).await);
        let held = stored(&aws).await.held.unwrap();
        assert_eq!(
            (held.invocation_id.as_str(), held.event.as_str()),
            (invocation, event)
        );
        lease.release().await;
        assert_eq!(stored(&aws).await.held, None);
    }
}

#[tokio::test]
async fn clusters_do_not_wait_for_each_other() {
    let aws = EmulatedAws::start().await;
    let _lease = take(&aws, "one", EVENT).await;
    let other = LeaseKey {
        cluster: "live-2.mycompany.tld".into(),
        ..key()
    };
    aws.clear_calls().await;
    let deadline = Instant::now() + WAIT_MAX;
    let taking = Lease::take(
        &table(&aws),
        other,
        Tokens::new("two"),
        work(OTHER_EVENT),
        deadline,
    )
    .await;
    assert!(matches!(taking, Ok(LeaseOutcome::Held(_))));
    assert_eq!(looks(&aws).await, 1);
}

#[tokio::test]
async fn another_events_invocation_is_refused_and_the_same_events_waits() {
    let aws = EmulatedAws::start().await;
    let lease = take(&aws, "one", EVENT).await;
    lease.name_restore(&"r-1f2e3d4c5b6a".into());
    // Longer than a lease lasts: it is renewed.
    let working = async {
        let begun = Instant::now();
        while begun.elapsed() < LASTS + ENDS_EARLY {
            assert!(holds(&lease).await);
            assert!(lease.time_left() > Duration::ZERO && lease.time_left() <= LASTS - ENDS_EARLY);
            sleep(Duration::from_millis(200)).await;
        }
        // Others may find it free before its holder hears of that.
        let released = Instant::now();
        lease.release().await;
        released
    };
    let same = async {
        let lease = take(&aws, "two", EVENT).await;
        let taken = Instant::now();
        lease.release().await;
        taken
    };
    let short = ask(&aws, "three", EVENT, Duration::from_secs(4));
    let other = async {
        let answer = ask(&aws, "four", OTHER_EVENT, WAIT_MAX).await;
        (answer, Instant::now())
    };
    let (released, taken, short, other) = tokio::join!(working, same, short, other);
    // It would have run out that late if it had not been given back.
    assert!(taken >= released && taken < released + LASTS - RENEWED_EVERY);
    assert!(matches!(short, LeaseOutcome::TimeUp(holder) if holder.invocation_id == "one"));
    let (other, told) = other;
    let LeaseOutcome::OtherEvent(holder) = other else {
        panic!("{other:?}");
    };
    assert_eq!(holder.restore_id, Some("r-1f2e3d4c5b6a".into()));
    assert!(told < released, "while the holder was at work");
}

#[tokio::test]
async fn a_holder_that_was_killed_holds_up_nobody_for_long() {
    let follows = async |event| {
        let aws = EmulatedAws::start().await;
        drop(take(&aws, "one", EVENT).await);
        aws.clear_calls().await;
        let begun = Instant::now();
        let _lease = take(&aws, "two", event).await;
        let (after, looks) = (begun.elapsed(), looks(&aws).await);
        assert!(
            after >= LASTS && looks <= 22,
            "{event}: {after:?}, {looks} looks"
        );
    };
    tokio::join!(follows(EVENT), follows(OTHER_EVENT));
}

#[tokio::test]
async fn of_several_that_wait_one_gets_it_and_then_the_next() {
    let aws = EmulatedAws::start().await;
    drop(take(&aws, "killed", EVENT).await);
    let holding = tokio::sync::Mutex::new(());
    let waits = |invocation: &'static str| {
        let (aws, holding) = (&aws, &holding);
        async move {
            let lease = take(aws, invocation, EVENT).await;
            let alone = holding.try_lock();
            assert!(alone.is_ok(), "{invocation} is not alone");
            sleep(Duration::from_millis(500)).await;
            assert!(holds(&lease).await);
            drop(alone);
            lease.release().await;
        }
    };
    tokio::join!(waits("one"), waits("two"), waits("three"));
}

#[tokio::test]
async fn answers_that_are_lost_cost_nothing() {
    let aws = EmulatedAws::start().await;
    // Of the taking; then of a renewal, by all of its attempts.
    aws.fault(Fault::drop_answer("dynamodb", "PutItem")).await;
    let lease = take_at_once(&aws, "one", EVENT).await;
    aws.fault(Fault::drop_answer("dynamodb", "PutItem").times(6))
        .await;
    let begun = Instant::now();
    while begun.elapsed() < LASTS + ENDS_EARLY {
        assert!(holds(&lease).await, "after {:?}", begun.elapsed());
        sleep(Duration::from_millis(200)).await;
    }
    aws.fault(Fault::drop_answer("dynamodb", "PutItem")).await;
    lease.release().await;
    assert_eq!(stored(&aws).await.held, None);
}

#[tokio::test]
async fn a_renewal_that_is_throttled_or_late_for_some_seconds_is_made_up_for() {
    let survives = async |fault: Fault| {
        let aws = EmulatedAws::start().await;
        let lease = take(&aws, "one", EVENT).await;
        aws.fault(fault.clone()).await;
        let begun = Instant::now();
        while begun.elapsed() < LASTS {
            let after = begun.elapsed();
            assert!(holds(&lease).await, "{fault:?}, after {after:?}");
            sleep(Duration::from_millis(200)).await;
        }
    };
    let refused = |code, status| Fault::error("dynamodb", "PutItem", code, status).times(6);
    tokio::join!(
        survives(refused("ThrottlingException", 400)),
        survives(refused("InternalServerError", 500)),
        survives(Fault::drop_request("dynamodb", "PutItem").times(6)),
        survives(Fault::delay(
            "dynamodb",
            "PutItem",
            Duration::from_millis(2500)
        )),
    );
}

#[tokio::test]
async fn what_a_holder_does_ends_when_the_table_is_out_of_reach_and_before_another_begins() {
    let aws = EmulatedAws::start().await;
    let lease = take(&aws, "one", EVENT).await;
    let denied = Fault::error("dynamodb", "PutItem", "AccessDeniedException", 400);
    aws.fault(denied.forever()).await;
    let begun = Instant::now();
    let lost = timeout(WAIT_MAX, lease.during(std::future::pending::<()>()));
    let lost = lost.await.expect("it ends with the lease").unwrap_err();
    let ended = begun.elapsed();
    // A timer may fire late.
    assert!(ended < LASTS, "{ended:?}");
    assert_eq!(lease.time_left(), Duration::ZERO);
    let cause = lost.cause.clone().expect("nobody else took it");
    assert!(cause.is("AccessDeniedException"));
    let told = etcd_backup_core::diagnostic::Diagnostic::from(lost);
    assert_eq!(told.error_type.name(), "AwsError");
    assert!(
        told.message
            .contains("dynamodb:PutItem failed with AccessDeniedException"),
        "{told}"
    );
    assert!(told.message.contains("send the same event again"), "{told}");
    // Nothing is begun any more.
    let begun = lease.during(async { panic!("it was begun") }).await;
    assert!(begun.is_err());
}

#[tokio::test]
async fn nothing_is_taken_where_the_table_is_out_of_reach() {
    for (operation, code) in [
        ("GetItem", "AccessDeniedException"),
        ("PutItem", "AccessDeniedException"),
        ("GetItem", "ResourceNotFoundException"),
    ] {
        let aws = EmulatedAws::start().await;
        aws.fault(Fault::error("dynamodb", operation, code, 400))
            .await;
        let deadline = Instant::now() + WAIT_MAX;
        let taking = Lease::take(
            &table(&aws),
            key(),
            Tokens::new("one"),
            work(EVENT),
            deadline,
        )
        .await;
        let error = taking.unwrap_err();
        assert!(error.is(code) && error.request_id.is_some(), "{error}");
        assert_eq!(error.operation, format!("dynamodb:{operation}"));
    }
}

/// Takes a cluster's lease from its holder, as happens where that is too slow to renew it.
async fn take_from_holder(aws: &EmulatedAws, invocation: &str) {
    let (table, cluster) = (table(aws), ClusterName::from(CLUSTER));
    let tokens = Tokens::new(invocation);
    loop {
        let seen = stored(aws).await.token;
        let lease = StoredLease {
            token: tokens.fresh(),
            held: Some(LeaseHolder {
                invocation_id: invocation.to_owned(),
                event: EVENT.to_owned(),
                restore_id: None,
            }),
        };
        let written = table.write_lease(RESTORES_TABLE, &cluster, &lease, Some(&seen));
        // A renewal may have come in between.
        if written.await.unwrap() == Written::Done {
            return;
        }
    }
}

#[tokio::test]
async fn a_holder_whose_lease_was_taken_stops_and_gives_nothing_back() {
    let aws = EmulatedAws::start().await;
    let lease = take(&aws, "one", EVENT).await;
    take_from_holder(&aws, "two").await;
    let lost = timeout(WAIT_MAX, lease.during(std::future::pending::<()>()));
    let lost = lost.await.expect("a renewal shows it").unwrap_err();
    assert_eq!(lost.cause, None);
    let told = etcd_backup_core::diagnostic::Diagnostic::from(lost);
    assert_eq!(told.error_type.name(), "RestoreInProgress");
    lease.release().await;
    assert_eq!(stored(&aws).await.held.unwrap().invocation_id, "two");
}

#[tokio::test]
async fn a_renewal_that_arrives_after_another_took_over_changes_nothing() {
    let aws = EmulatedAws::start().await;
    let slow = take(&aws, "slow", EVENT).await;
    // Every attempt of its renewals is on its way for longer than the lease lasts.
    let late = LASTS + ENDS_EARLY + Duration::from_secs(1);
    aws.fault(Fault::delay("dynamodb", "PutItem", late).times(5))
        .await;
    while aws.calls_seen_by_faults().await == 0 {
        sleep(Duration::from_millis(50)).await;
    }
    drop(slow);
    aws.clear_faults().await;
    let lease = take(&aws, "next", EVENT).await;
    let has_arrived = async || {
        let calls = aws.calls().await;
        calls
            .iter()
            .any(|call| call.fault.as_deref() == Some("delay"))
    };
    let begun = Instant::now();
    while begun.elapsed() < LASTS || !has_arrived().await {
        assert!(holds(&lease).await, "after {:?}", begun.elapsed());
        sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(stored(&aws).await.held.unwrap().invocation_id, "next");
}

async fn records(aws: &EmulatedAws) -> Vec<(u32, u32, String)> {
    let records = table(aws).records(RESTORES_TABLE, &CLUSTER.into()).await;
    let records = records.unwrap().into_iter();
    records
        .map(|record| (record.number.0, record.layout, record.body))
        .collect()
}

#[tokio::test]
async fn records_are_read_newest_first_whatever_their_size() {
    let aws = EmulatedAws::start().await;
    let lease = take(&aws, "one", EVENT).await;
    let table = table(&aws);
    assert!(records(&aws).await.is_empty());
    let cluster = ClusterName::from(CLUSTER);
    let newest = table.newest_record(RESTORES_TABLE, &cluster).await;
    assert_eq!(newest.unwrap(), None);
    // Together more than one of DynamoDB's pages of 1 MiB.
    let mut number = RecordNumber::FIRST;
    let mut written = Vec::new();
    for letter in ["a", "b", "c", "d", "e"] {
        let body = letter.repeat(350_000);
        let mut slot = RecordSlot::free(number);
        lease
            .write_record(&table, &mut slot, 7, &body)
            .await
            .unwrap();
        written.insert(0, (number.0, 7, body));
        number = number.next();
    }
    assert_eq!(records(&aws).await, written);
    let newest = table.newest_record(RESTORES_TABLE, &cluster).await;
    assert_eq!(newest.unwrap().unwrap().number, RecordNumber(5));
    let pages = aws.calls().await;
    let pages = pages
        .iter()
        .filter(|call| call.operation == "Query")
        .count();
    assert!(pages >= 5, "{pages} queries");
    let elsewhere = table
        .records(RESTORES_TABLE, &"live-2.mycompany.tld".into())
        .await;
    assert_eq!(elsewhere.unwrap(), []);

    let mut slot = RecordSlot::free(number);
    let too_large = "x".repeat(420_000);
    let error = lease
        .write_record(&table, &mut slot, 7, &too_large)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, RecordError::Aws(error) if error.certainly_refused),
        "{error}"
    );
    assert_eq!(records(&aws).await.len(), 5);
}

#[tokio::test]
async fn a_record_is_written_once_whatever_becomes_of_the_answers() {
    let aws = EmulatedAws::start().await;
    let lease = take(&aws, "one", EVENT).await;
    let table = table(&aws);
    let mut slot = RecordSlot::free(RecordNumber::FIRST);
    // The SDK's retry meets its own success.
    aws.fault(Fault::drop_answer("dynamodb", "PutItem")).await;
    lease
        .write_record(&table, &mut slot, 1, "begun")
        .await
        .unwrap();
    assert_eq!(records(&aws).await, [(1, 1, "begun".to_owned())]);
    // All attempts' answers are lost: it is an error, and it was written.
    aws.fault(Fault::drop_answer("dynamodb", "PutItem").forever())
        .await;
    let failed = lease.write_record(&table, &mut slot, 1, "made").await;
    assert!(failed.is_err());
    aws.clear_faults().await;
    assert_eq!(records(&aws).await, [(1, 1, "made".to_owned())]);
    // That may have taken longer than the lease lasts; nobody else wanted it.
    while !holds(&lease).await {
        sleep(Duration::from_millis(100)).await;
    }
    // What was written meanwhile is no stranger's.
    let mut read = RecordSlot::of(
        &table
            .newest_record(RESTORES_TABLE, &key().cluster)
            .await
            .unwrap()
            .unwrap(),
    );
    lease
        .write_record(&table, &mut slot, 1, "done")
        .await
        .unwrap();
    assert_eq!(records(&aws).await, [(1, 1, "done".to_owned())]);
    // What was read before that is out of date.
    let stale = lease.write_record(&table, &mut read, 1, "made again").await;
    assert!(matches!(stale, Err(RecordError::LeaseLost(_))), "{stale:?}");
    assert_eq!(records(&aws).await, [(1, 1, "done".to_owned())]);
}

#[tokio::test]
async fn the_clusters_that_have_records_are_known() {
    let aws = EmulatedAws::start().await;
    let table = table(&aws);
    let listed = async || {
        let mut names = table.clusters_with_records(RESTORES_TABLE).await.unwrap();
        names.sort();
        names
    };
    assert_eq!(listed().await, []);
    let names: Vec<ClusterName> = ["a.tld", "b.tld", CLUSTER].map(Into::into).into();
    for cluster in &names {
        let key = LeaseKey {
            cluster: cluster.clone(),
            ..key()
        };
        let tokens = Tokens::new("one");
        let deadline = Instant::now() + WAIT_MAX;
        let taking = Lease::take(&table, key, tokens, work(EVENT), deadline).await;
        let Ok(LeaseOutcome::Held(lease)) = taking else {
            panic!("{taking:?}");
        };
        let mut number = RecordNumber::FIRST;
        for body in ["first", "second"] {
            // It is listed before the record is written, whatever becomes of that.
            let mut slot = RecordSlot::free(number);
            aws.fault(Fault::drop_answer("dynamodb", "PutItem")).await;
            let written = lease.write_record(&table, &mut slot, 1, body).await;
            written.unwrap();
            number = number.next();
        }
        lease.release().await;
    }
    assert_eq!(listed().await, names);
    for cluster in &names {
        let records = table.records(RESTORES_TABLE, cluster).await.unwrap();
        assert_eq!(records.len(), 2, "{cluster}");
    }
}

#[tokio::test]
async fn two_that_would_begin_a_restore_do_not_both() {
    let aws = EmulatedAws::start().await;
    let slow = take(&aws, "slow", EVENT).await;
    let mut slot_of_slow = RecordSlot::free(RecordNumber::FIRST);
    // It read that there is no restore, and is overtaken.
    take_from_holder(&aws, "next").await;
    let next = StoredRecord {
        number: RecordNumber::FIRST,
        token: Tokens::new("next").fresh(),
        layout: 1,
        body: "next".to_owned(),
    };
    let table = table(&aws);
    let written = table
        .write_record(RESTORES_TABLE, &key().cluster, &next, None)
        .await;
    assert_eq!(written.unwrap(), Written::Done);
    let refused = slow
        .write_record(&table, &mut slot_of_slow, 1, "slow")
        .await;
    assert!(
        matches!(refused, Err(RecordError::LeaseLost(_))),
        "{refused:?}"
    );
    assert_eq!(records(&aws).await, [(1, 1, "next".to_owned())]);
}
