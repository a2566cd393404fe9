//! Several invocations at the same time: one works on a cluster, and clusters don't wait for each other.

use super::*;
use e2e::restore_bed::{event_of, while_masters_start_fast};
use e2e::restores::forget_lease;
use e2e::{CrashPoint, Function};

const WAIT_MAX: Duration = Duration::from_secs(600);

/// For how long new volumes are being made.
async fn creating_seconds(bed: &RestoreBed, seconds: u32) {
    bed.aws
        .settings(json!({"volume_creating_seconds": seconds}))
        .await;
}

/// Waits until so many calls of an operation have changed something.
async fn until_called(bed: &RestoreBed, operation: &str, times: usize) {
    let is_called = async || {
        let calls = bed.writes().await;
        let calls = calls.iter().filter(|call| call.operation == operation);
        calls.count() >= times
    };
    while !is_called().await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn sent(restore: &Function, event: Value) -> Result<Value, e2e::LambdaError> {
    restore
        .invoke_with(event, InvocationOptions::within(WAIT_MAX))
        .await
}

#[tokio::test]
async fn two_invocations_of_one_event_make_one_set_and_give_one_answer() {
    let seeded = RestoreBed::small().await;
    for event in [json!({}), replace()] {
        let bed = seeded.fork().await;
        let slow = json!({"volume_creating_seconds": 2, "instance_terminating_seconds": 2});
        bed.aws.settings(slow).await;
        let other = restore_function(&bed.aws).await;
        // The same, spelt out: there is no other etcd cluster.
        let mut spelt_out = event.clone();
        spelt_out["etcd_clusters"] = json!(["main"]);
        let both = async {
            tokio::join!(
                sent(&bed.restore, bed.event(event.clone())),
                sent(&other, bed.event(spelt_out))
            )
        };
        let (one, two) = while_masters_start_fast(&bed.aws, both).await;
        let (one, two) = (one.unwrap(), two.unwrap());
        for field in ["phase", "restore_id", "members", "restore_point"] {
            assert_eq!(one[field], two[field], "{event}: {field}");
        }
        assert_eq!(one["phase"], "done");
        bed.assert_masters_find(&answered_volumes(&one)).await;
        bed.assert_resumed().await;
        let calls = bed.writes().await;
        for operation in ["CreateVolume", "DeleteTags"] {
            let made = calls.iter().filter(|call| call.operation == operation);
            assert!(
                made.count() <= 3,
                "{event}: {operation} was called for a member twice"
            );
        }
        let terminated: usize = calls
            .iter()
            .filter(|call| call.operation == "TerminateInstances")
            .map(|call| call.parameters["InstanceIds"].as_array().unwrap().len())
            .sum();
        let expected = if event == replace() { 3 } else { 0 };
        assert_eq!(terminated, expected, "{event}");
    }
}

#[tokio::test]
async fn another_event_is_told_at_once_that_one_is_at_work() {
    let bed = RestoreBed::small().await;
    // It works until all others were answered.
    creating_seconds(&bed, 600).await;
    let other = restore_function(&bed.aws).await;
    let meanwhile = async {
        until_called(&bed, "CreateVolume", 1).await;
        for event in [json!({"skew_minutes_max": 30}), json!({"action": "redo"})] {
            let began = std::time::Instant::now();
            let error = sent(&other, bed.event(event.clone())).await.unwrap_err();
            assert_eq!(error.error_type, "RestoreInProgress", "{event}: {error}");
            // Two seconds, and not its whole time.
            assert!(began.elapsed() < WAIT_MAX / 10, "{event}");
        }
        for action in ["status", "plan", "list", "history"] {
            let answer = sent(&other, bed.event(json!({"action": action}))).await;
            answer.unwrap_or_else(|error| panic!("{action}: {error}"));
        }
        creating_seconds(&bed, 0).await;
    };
    let (done, ()) = tokio::join!(bed.done(json!({})), meanwhile);
    assert_eq!(done["phase"], "done");
}

/// Two different events at the same moment once made two sets under one id.
#[tokio::test]
async fn of_two_events_at_the_same_moment_one_is_refused() {
    let bed = RestoreBed::small().await;
    // The one works until the other was answered, however late that came.
    creating_seconds(&bed, 600).await;
    let other = restore_function(&bed.aws).await;
    let before = bed.volumes().await.len();
    let ended = async |restore: &Function, more: Value| {
        let answer = sent(restore, bed.event(more)).await;
        creating_seconds(&bed, 0).await;
        answer
    };
    let (one, two) = tokio::join!(
        ended(&bed.restore, json!({})),
        ended(&other, json!({"skew_minutes_max": 30}))
    );
    let (done, refused) = match (one, two) {
        (Ok(done), Err(refused)) | (Err(refused), Ok(done)) => (done, refused),
        both => panic!("{both:?}"),
    };
    assert_eq!(refused.error_type, "RestoreInProgress");
    assert_eq!(done["phase"], "done");
    assert_eq!(bed.volumes().await.len(), before + 3);
    let history = bed.ask(json!({"action": "history"})).await;
    assert_eq!(history["restores"].as_array().unwrap().len(), 1);
    bed.assert_masters_find(&answered_volumes(&done)).await;
}

/// A killed invocation holds nothing up for longer than its lease lives.
#[tokio::test]
async fn a_lease_left_by_a_killed_invocation_runs_out() {
    let bed = RestoreBed::small().await;
    let mut killed = restore_function(&bed.aws).await;
    let point = CrashPoint::After(20);
    let crashed = killed
        .invoke_and_crash(&bed.aws, bed.event(json!({})), point)
        .await;
    assert!(crashed.is_none(), "it ended before it was killed");
    killed.restart().await;
    bed.aws.clear_calls().await;
    let done = bed.done(json!({})).await;
    // Two a second for ten seconds.
    let looks = looks_at_lease(&bed).await;
    assert!(looks <= 22, "{looks} looks at the lease");

    // Another event doesn't take the place of what was killed, but its undo does.
    let mut killed = restore_function(&bed.aws).await;
    let again = json!({"again": true});
    let crashed = killed
        .invoke_and_crash(&bed.aws, bed.event(again), point)
        .await;
    assert!(crashed.is_none(), "it ended before it was killed");
    killed.restart().await;
    let error = bed
        .try_ask(json!({"skew_minutes_max": 30}))
        .await
        .unwrap_err();
    assert_eq!(error.error_type, "RestoreInProgress");
    let undone = bed.undone(json!({})).await;
    assert_eq!(answered_volumes(&undone), answered_volumes(&done));
}

/// Who waits for an invocation that is killed goes on where that stopped.
#[tokio::test]
async fn a_waiting_invocation_takes_over_from_a_killed_one() {
    let bed = RestoreBed::small().await;
    // The one works until it is killed.
    creating_seconds(&bed, 600).await;
    let before = bed.volumes().await.len();
    let first = restore_function(&bed.aws).await;
    let killed = async {
        let invocation = first.invoke(bed.event(json!({})));
        let created = async {
            while bed.volumes().await.len() < before + 3 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            answer = invocation => panic!("it ended before it was killed: {answer:?}"),
            () = created => {}
        }
        // The other looks at the lease more than once where it is held.
        let looks = looks_at_lease(&bed).await;
        while looks_at_lease(&bed).await < looks + 2 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        first.kill().await;
        creating_seconds(&bed, 0).await;
    };
    let waiting = async {
        until_called(&bed, "CreateVolume", 1).await;
        bed.done(json!({})).await
    };
    let ((), done) = tokio::join!(killed, waiting);
    assert_eq!(done["phase"], "done");
    assert_eq!(
        bed.volumes().await.len(),
        before + 3,
        "nothing was made twice"
    );
    let history = bed.ask(json!({"action": "history"})).await;
    assert_eq!(history["restores"].as_array().unwrap().len(), 1);
}

/// Its answers take so long that another invocation takes its lease: it must not write any more.
#[tokio::test]
async fn a_holder_so_slow_that_its_lease_is_taken_writes_nothing_any_more() {
    let bed = RestoreBed::small().await;
    let slow = restore_function(&bed.aws).await;
    let before = bed.volumes().await.len();
    // Its renewals don't arrive, and what it does takes its time.
    bed.aws
        .fault(Fault::delay("ec2", "CreateVolume", Duration::from_secs(2)).times(1))
        .await;
    let event = bed.event(json!({}));
    let first = tokio::spawn(async move { sent(&slow, event).await });
    until_called(&bed, "CreateVolume", 1).await;
    // As if a lease's time had passed: another one finds none.
    forget_lease(&bed.aws, CLUSTER).await;
    let done = bed.done(json!({})).await;
    assert_eq!(done["phase"], "done");
    let first = first.await.unwrap();
    match first {
        Ok(answer) => assert_eq!(answer["members"], done["members"]),
        Err(error) => assert_eq!(error.error_type, "RestoreInProgress", "{error}"),
    }
    assert_eq!(
        bed.volumes().await.len(),
        before + 3,
        "nothing was made twice"
    );
    bed.assert_masters_find(&answered_volumes(&done)).await;
}

#[tokio::test]
async fn clusters_are_restored_side_by_side() {
    let bed = RestoreBed::fleet(1).await;
    // Neither comes to its end before both have made their volumes: who waited for the other would for ever.
    creating_seconds(&bed, 600).await;
    let other_function = restore_function(&bed.aws).await;
    let other = &bed.others[0];
    let both_made = async {
        until_called(&bed, "CreateVolume", 12).await;
        creating_seconds(&bed, 0).await;
    };
    let (one, two, ()) = tokio::join!(
        bed.done(json!({})),
        sent(&other_function, event_of(other.name(), json!({}))),
        both_made
    );
    let two = two.unwrap();
    assert_eq!(two["phase"], "done");
    assert_ne!(one["restore_id"], two["restore_id"]);
    let found = e2e::restores::found_by_masters(&bed.aws, other).await;
    for (member, volume) in answered_volumes(&two) {
        assert_eq!(found[&member], BTreeSet::from([volume]), "{member}");
    }
    // Both had made their volumes before either exchanged any: neither waited for the other.
    let writes = bed.writes().await;
    let mut operations = writes.iter().map(|call| call.operation.as_str());
    let exchange = operations.position(|operation| operation != "CreateVolume");
    assert_eq!(exchange, Some(12));
    bed.assert_never_two_candidates().await;
}

/// An invocation that stood still for longer than its lease lives must not take up what was turned meanwhile:
/// the person who undid it has the last word.
#[tokio::test]
async fn an_invocation_that_was_frozen_does_nothing_after_an_undo() {
    let seeded = RestoreBed::small().await;
    for stopped_after in ["CreateVolume", "DeleteTags"] {
        // A machine may be too slow once to stop it before its end, seconds later.
        let mut tries = 1;
        while !is_frozen_in_time(&seeded.fork().await, stopped_after).await {
            tries += 1;
            assert!(tries <= 5, "{stopped_after}: it was over each time");
        }
    }
}

/// Freezes a restore after its first call of an operation, undoes it meanwhile and judges what comes of it;
/// `false` where it was over before it was frozen.
async fn is_frozen_in_time(bed: &RestoreBed, stopped_after: &str) -> bool {
    let frozen = restore_function(&bed.aws).await;
    let at_work = sent(&frozen, bed.event(json!({})));
    let meanwhile = async {
        until_called(bed, stopped_after, 1).await;
        frozen.freeze();
        let status = bed.ask(json!({"action": "status"})).await;
        if status["phase"] == "done" {
            frozen.thaw();
            return None;
        }
        let undone = bed.undone(json!({})).await;
        let before = bed.volumes().await;
        frozen.thaw();
        Some((undone, before))
    };
    let (refused, frozen_in_time) = tokio::join!(at_work, meanwhile);
    let Some((undone, before)) = frozen_in_time else {
        return false;
    };
    let refused = refused.expect_err(stopped_after);
    assert_eq!(refused.error_type, "RestoreInProgress", "{refused}");
    assert_eq!(bed.volumes().await, before, "{stopped_after}");
    let history = bed.ask(json!({"action": "history"})).await;
    assert_eq!(history["restores"].as_array().unwrap().len(), 1);
    bed.assert_masters_find(&answered_volumes(&undone)).await;
    bed.assert_never_two_candidates().await;
    true
}
