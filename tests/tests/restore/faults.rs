//! Whatever AWS refuses, and whenever: the old volumes are as they were, or the exchange had begun and
//! the same event ends it.

use super::*;
use e2e::restores::found_by_masters;

/// Every operation that the whole of a restore and its undo call.
const OPERATIONS: [(&str, &str); 18] = [
    ("ec2", "DescribeVolumes"),
    ("ec2", "DescribeSnapshots"),
    ("ec2", "DescribeInstances"),
    ("ec2", "DescribeInstanceAttribute"),
    ("ec2", "CreateVolume"),
    ("ec2", "CreateTags"),
    ("ec2", "DeleteTags"),
    ("ec2", "TerminateInstances"),
    ("autoscaling", "DescribeAutoScalingGroups"),
    ("autoscaling", "CreateOrUpdateTags"),
    ("autoscaling", "SuspendProcesses"),
    ("autoscaling", "ResumeProcesses"),
    ("autoscaling", "DeleteTags"),
    ("dynamodb", "GetItem"),
    ("dynamodb", "PutItem"),
    ("dynamodb", "Query"),
    ("dlm", "GetLifecyclePolicies"),
    ("dlm", "GetLifecyclePolicy"),
];

/// How each service names a call that IAM denies.
fn denied(service: &str, operation: &str) -> Fault {
    let (code, status) = match service {
        "ec2" => ("UnauthorizedOperation", 403),
        "dynamodb" | "dlm" => ("AccessDeniedException", 400),
        _ => ("AccessDenied", 403),
    };
    Fault::error(service, operation, code, status)
}

#[tokio::test]
async fn throttling_of_every_operation_is_waited_out() {
    let bed = RestoreBed::small().await;
    for (service, operation) in OPERATIONS {
        let (code, status) = match service {
            "ec2" => ("RequestLimitExceeded", 503),
            "dynamodb" => ("ProvisionedThroughputExceededException", 400),
            "dlm" => ("LimitExceededException", 429),
            _ => ("Throttling", 400),
        };
        let fault = Fault::error(service, operation, code, status);
        bed.aws.fault(fault.times(2)).await;
    }
    bed.done(replace()).await;
    bed.assert_resumed().await;
    let calls = bed.aws.calls().await.into_iter();
    let called: BTreeSet<_> = calls.map(|call| (call.service, call.operation)).collect();
    let known = OPERATIONS.map(|(service, operation)| (service.to_owned(), operation.to_owned()));
    let unknown: Vec<_> = called.difference(&BTreeSet::from(known)).cloned().collect();
    assert!(
        unknown.is_empty(),
        "the list of operations is not whole: {unknown:?}"
    );
}

#[tokio::test]
async fn an_operation_that_is_denied_leaves_a_way_on_and_a_way_back() {
    let seeded = RestoreBed::small().await;
    let before = seeded.volumes().await;
    for (service, operation) in OPERATIONS {
        let bed = seeded.fork().await;
        bed.aws.fault(denied(service, operation).forever()).await;
        let result = bed.try_ask(replace()).await;
        bed.aws.clear_faults().await;
        let error = match result {
            // It isn't needed: nothing to be denied.
            Ok(done) => {
                let calls = bed.aws.calls().await;
                let was_called = calls
                    .iter()
                    .any(|call| call.operation == operation && call.service == service);
                assert!(
                    !was_called || done["phase"] == "done",
                    "{operation}: {done}"
                );
                continue;
            }
            Err(error) => error,
        };
        assert_eq!(
            error.error_type, "AwsError",
            "{operation}: {}",
            error.message
        );
        assert_says(&json!(error.message), &["request id"]);

        let after = bed.volumes().await;
        let mut old = bed.cluster.volumes.values();
        let is_untouched = old.all(|old| after[old].tags == before[old].tags);
        let suspended = suspended_groups(&bed.aws, &bed.cluster).await;
        let found = found_by_masters(&bed.aws, &bed.cluster).await;
        let one_each = found.len() == 3 && found.values().all(|volumes| volumes.len() == 1);
        assert!(
            one_each || !suspended.is_empty(),
            "{operation}: masters come back to {found:?}"
        );
        for group in &suspended {
            assert_says(&json!(error.message), &[group]);
        }
        if is_untouched && operation != "ResumeProcesses" && service != "dynamodb" {
            assert_eq!(suspended, BTreeSet::new(), "{operation}: {}", error.message);
        }

        let undone = bed.fork().await;
        match undone
            .try_ask(json!({"action": "undo", "masters": "replace"}))
            .await
        {
            Ok(answer) => assert_eq!(answer["phase"], "undone", "{operation}"),
            Err(error) => assert_eq!(error.error_type, "RestoreNotFound", "{operation}: {error}"),
        }
        undone.assert_masters_find(&undone.old()).await;
        undone.assert_resumed().await;

        bed.done(replace()).await;
        bed.assert_resumed().await;
    }
}

#[tokio::test]
async fn an_undo_that_is_denied_is_ended_by_the_same_event() {
    let seeded = RestoreBed::small().await;
    let done = seeded.done(json!({})).await;
    for (service, operation) in OPERATIONS {
        let bed = seeded.fork().await;
        bed.aws.fault(denied(service, operation).forever()).await;
        let result = bed
            .try_ask(json!({"action": "undo", "masters": "replace"}))
            .await;
        bed.aws.clear_faults().await;
        if let Err(error) = result {
            assert_eq!(error.error_type, "AwsError", "{operation}: {error}");
        }
        let undone = bed.undone(replace()).await;
        assert_eq!(undone["restore_id"], done["restore_id"], "{operation}");
        bed.assert_resumed().await;
    }
}

/// The table can't be reached: nothing is begun, and what was begun is left as it may be left.
#[tokio::test]
async fn without_the_table_nothing_is_begun_and_nothing_goes_on() {
    let seeded = RestoreBed::small().await;
    let gone = || Fault::error("dynamodb", "*", "InternalServerError", 500).forever();
    let bed = seeded.fork().await;
    for event in [
        json!({}),
        replace(),
        json!({"action": "undo"}),
        json!({"action": "status"}),
    ] {
        bed.aws.clear_calls().await;
        let error = bed.fails(event.clone(), gone()).await;
        assert_eq!(error.error_type, "AwsError", "{event}: {error}");
        bed.assert_nothing_written().await;
    }
    bed.done(json!({})).await;

    // From some point on it is gone.
    for nth in [4, 6, 8, 10, 12] {
        let bed = seeded.fork().await;
        bed.aws.fault(gone().nth(nth)).await;
        let result = bed.try_ask(replace()).await;
        bed.aws.clear_faults().await;
        let found = found_by_masters(&bed.aws, &bed.cluster).await;
        let suspended = suspended_groups(&bed.aws, &bed.cluster).await;
        let one_each = found.len() == 3 && found.values().all(|volumes| volumes.len() == 1);
        assert!(
            one_each || suspended.len() == 3,
            "{nth}: {result:?}, {found:?}"
        );
        bed.assert_never_two_candidates().await;
        bed.done(replace()).await;
        bed.assert_resumed().await;
    }
}

#[tokio::test]
async fn lost_answers_lagging_reads_and_throttling_change_nothing() {
    let bed = RestoreBed::fleet(1).await;
    let before = bed.volumes().await.len();
    bed.aws
        .settings(json!({"stale_reads": 4, "page_size_max": 5}))
        .await;
    for (service, operation) in OPERATIONS {
        if service == "autoscaling" {
            continue;
        }
        bed.aws
            .fault(Fault::drop_answer(service, operation).nth(2))
            .await;
        bed.aws
            .fault(Fault::drop_answer(service, operation).nth(4))
            .await;
    }
    let done = bed.done(json!({})).await;
    assert_eq!(bed.volumes().await.len(), before + 6);
    let history = bed.ask(json!({"action": "history"})).await;
    assert_eq!(history["restores"].as_array().unwrap().len(), 1);

    let calls = bed.aws.calls().await;
    let untagged = calls
        .iter()
        .rposition(|call| call.operation == "DeleteTags")
        .unwrap();
    let is_discovery = |call: &e2e::Call| {
        call.operation == "CreateTags" && call.parameters.to_string().contains("\"k8s.io/etcd/")
    };
    let tagged = calls.iter().position(is_discovery).unwrap();
    assert!(
        untagged < tagged,
        "no new volume is tagged before the old ones are untagged"
    );
    let looks = calls[untagged..tagged]
        .iter()
        .filter(|call| call.operation == "DescribeVolumes");
    assert!(
        looks.count() >= 2,
        "the masters' filters are asked twice at least"
    );
    bed.undone(json!({})).await;
    assert_eq!(done["phase"], "done");
}

/// EC2's authorization may lag its tags: what a tag written a moment ago allows is refused at first.
#[tokio::test]
async fn a_refusal_for_want_of_a_tag_just_written_is_retried() {
    let bed = RestoreBed::small().await;
    for operation in ["DeleteTags", "CreateTags"] {
        let refused = Fault::error("ec2", operation, "UnauthorizedOperation", 403);
        bed.aws.fault(refused.nth(2).times(3)).await;
    }
    let done = bed.done(json!({})).await;
    assert_eq!(done["phase"], "done");
    bed.undone(json!({})).await;
}

#[tokio::test]
async fn what_ec2_will_not_make_is_told_with_a_way_out() {
    let seeded = RestoreBed::small().await;
    let before = seeded.volumes().await;
    for code in [
        "InvalidSnapshot.NotFound",
        "InsufficientVolumeCapacity",
        "VolumeLimitExceeded",
        "MaxIOPSLimitExceeded",
        "InvalidKmsKey.InvalidState",
    ] {
        let bed = seeded.fork().await;
        let fault = Fault::error("ec2", "CreateVolume", code, 400);
        let error = bed.fails(replace(), fault.nth(2).forever()).await;
        assert!(
            ["AwsError", "VolumeFailed"].contains(&error.error_type.as_str()),
            "{error}"
        );
        assert_says(&json!(error.message), &[code, "main/"]);
        let after = bed.volumes().await;
        for (id, volume) in &before {
            assert_eq!(&after[id], volume, "{code}");
        }
        bed.assert_resumed().await;
        bed.undone(json!({})).await;
    }
}

#[tokio::test]
async fn an_archived_snapshot_is_no_part_of_a_restore_point() {
    let bed = RestoreBed::small().await;
    let archived = bed.newest_snapshot("main/b").await;
    bed.aws
        .set_snapshot(&archived, json!({"storage_tier": "archive"}))
        .await;
    let error = bed.refused(json!({}), "NoRestorePoint").await;
    assert_says(
        &json!(error.message),
        &["main/b", archived.as_str(), "archive"],
    );
    let list = bed.ask(json!({"action": "list"})).await;
    assert_says(&list["text"], &[archived.as_str(), "archive"]);
}

/// It asks for a fault at any call; the invocation ends soon enough to be answered.
#[tokio::test]
async fn a_deadline_that_is_near_ends_with_an_answer_that_says_to_go_on() {
    let bed = RestoreBed::small().await;
    bed.aws
        .settings(json!({"instance_terminating_seconds": 600}))
        .await;
    let waiting = bed
        .stopped_by_time(replace(), "waiting_for_masters", Duration::from_secs(10))
        .await;
    assert_says(&waiting["next_steps"], &["same event"]);
    // Its lease is given back, so that nobody waits.
    bed.aws.advance(HOUR).await;
    bed.aws.clear_calls().await;
    bed.done(replace()).await;
    let looks = looks_at_lease(&bed).await;
    assert!(looks <= 2, "{looks} looks at the lease");
}
