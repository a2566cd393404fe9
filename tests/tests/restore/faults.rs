//! Whatever AWS refuses, and whenever: the old volumes are as they were, or the exchange had begun and
//! the same event ends it.

use super::*;

/// Every operation that the whole of a restore and its undo call.
const OPERATIONS: [(&str, &str); 13] = [
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
];

fn replace() -> Value {
    with(json!({"masters": "replace"}))
}

fn undo() -> Value {
    with(json!({"action": "undo", "masters": "replace"}))
}

async fn world() -> (EmulatedAws, Cluster) {
    backed_up_once(Kops::new(CLUSTER).etcd_clusters(&["main"])).await
}

async fn no_group_is_suspended(aws: &EmulatedAws) -> bool {
    let described = aws.autoscaling().describe_auto_scaling_groups().send();
    let groups = described.await.unwrap().auto_scaling_groups.unwrap();
    groups
        .iter()
        .all(|group| group.suspended_processes().is_empty())
}

/// How each service names a call that IAM denies.
fn denied_code(service: &str) -> &'static str {
    match service {
        "ec2" => "UnauthorizedOperation",
        _ => "AccessDenied",
    }
}

/// The operations that an event called, so that the list above is known to be whole.
async fn operations_called(aws: &EmulatedAws) -> BTreeSet<(String, String)> {
    let calls = aws.calls().await.into_iter();
    calls.map(|call| (call.service, call.operation)).collect()
}

#[tokio::test]
async fn throttling_of_every_operation_is_waited_out() {
    let (aws, cluster) = world().await;
    for (service, operation) in OPERATIONS {
        let (code, status) = match service {
            "ec2" => ("RequestLimitExceeded", 503),
            _ => ("Throttling", 400),
        };
        aws.fault(Fault::error(service, operation, code, status).times(3))
            .await;
    }
    let restore = Function::start(&aws, "restore", &[]).await;
    aws.clear_calls().await;
    let done = invoke(&restore, replace()).await;
    assert_eq!(done["phase"], "done");
    assert_masters_find(&aws, &cluster, &new_volumes(&done)).await;
    let called = operations_called(&aws).await;
    let known = OPERATIONS.map(|(service, operation)| (service.to_owned(), operation.to_owned()));
    assert_eq!(
        called,
        BTreeSet::from(known),
        "the list of operations is whole"
    );
    assert_never_two_candidates(&aws).await;
}

#[tokio::test]
async fn an_operation_that_is_denied_leaves_a_way_on_and_a_way_back() {
    let (seeded, cluster) = world().await;
    for (service, operation) in OPERATIONS {
        let aws = seeded.fork().await;
        let restore = Function::start(&aws, "restore", &[]).await;
        let before = volumes(&aws).await;
        let code = denied_code(service);
        aws.fault(Fault::error(service, operation, code, 403).forever())
            .await;
        let error = restore.invoke(replace()).await.expect_err(operation);
        assert_eq!(
            error.error_type, "AwsError",
            "{operation}: {}",
            error.message
        );
        assert!(
            error.message.contains(code) && error.message.contains("request id"),
            "{}",
            error.message
        );
        aws.clear_faults().await;

        let after = volumes(&aws).await;
        let is_untouched = cluster
            .volumes
            .values()
            .all(|old| after[old].1 == before[old].1);
        let has_begun = error.message.contains("the exchange is under way");
        let is_resuming = ["ResumeProcesses", "DeleteTags"].contains(&operation);
        assert!(
            is_untouched || has_begun || is_resuming,
            "{operation}: {}",
            error.message
        );
        if operation != "ResumeProcesses" {
            assert!(
                no_group_is_suspended(&aws).await,
                "{operation}: {}",
                error.message
            );
        }

        let undone = aws.fork().await;
        let restore_there = Function::start(&undone, "restore", &[]).await;
        match restore_there.invoke(undo()).await {
            Ok(answer) => assert_eq!(answer["phase"], "undone", "{operation}"),
            Err(error) => assert_eq!(
                error.error_type, "RestoreNotFound",
                "{operation}: {}",
                error.message
            ),
        }
        assert_masters_find(&undone, &cluster, &cluster.volumes_by_name()).await;
        assert!(no_group_is_suspended(&undone).await, "{operation}");

        let done = invoke(&restore, replace()).await;
        assert_eq!(done["phase"], "done", "{operation}");
        assert_masters_find(&aws, &cluster, &new_volumes(&done)).await;
        assert!(no_group_is_suspended(&aws).await, "{operation}");
        for aws in [&aws, &undone] {
            assert_never_two_candidates(aws).await;
        }
    }
}

#[tokio::test]
async fn an_undo_that_is_denied_is_ended_by_the_same_event() {
    let (seeded, cluster) = world().await;
    let restore = Function::start(&seeded, "restore", &[]).await;
    let done = invoke(&restore, event()).await;
    for (service, operation) in OPERATIONS {
        if ["DescribeSnapshots", "CreateVolume"].contains(&operation) {
            continue; // It makes nothing.
        }
        let aws = seeded.fork().await;
        let restore = Function::start(&aws, "restore", &[]).await;
        let denied = Fault::error(service, operation, denied_code(service), 403);
        aws.fault(denied.forever()).await;
        let error = restore.invoke(undo()).await.expect_err(operation);
        assert_eq!(
            error.error_type, "AwsError",
            "{operation}: {}",
            error.message
        );
        aws.clear_faults().await;
        if operation != "ResumeProcesses" {
            assert!(
                no_group_is_suspended(&aws).await,
                "{operation}: {}",
                error.message
            );
        }
        let undone = invoke(&restore, undo()).await;
        assert_eq!(
            (&undone["phase"], &undone["restore_id"]),
            (&json!("undone"), &done["restore_id"])
        );
        assert_masters_find(&aws, &cluster, &cluster.volumes_by_name()).await;
        assert!(no_group_is_suspended(&aws).await, "{operation}");
        assert_never_two_candidates(&aws).await;
    }
}

#[tokio::test]
async fn a_volume_that_stays_creating_leaves_the_old_ones_and_the_masters_alone() {
    let (aws, cluster) = world().await;
    let before = volumes(&aws).await;
    let instances = cluster.instances(&aws).await;
    aws.volumes_end("creating", 2).await;
    let restore = Function::start(&aws, "restore", &[]).await;
    let short = InvocationOptions::within(Duration::from_secs(8));
    let answer = restore.invoke_with(replace(), short).await.unwrap();
    assert_eq!(answer["phase"], "creating");
    for (id, volume) in &before {
        assert_eq!(&volumes(&aws).await[id], volume);
    }
    assert_eq!(cluster.instances(&aws).await, instances, "no master died");
    let stuck = &new_volumes(&answer)[&answer["members"][1]["etcd_cluster"]
        .as_str()
        .map(|etcd| {
            format!(
                "{etcd}/{}",
                answer["members"][1]["member"].as_str().unwrap()
            )
        })
        .unwrap()];
    for volume in new_volumes(&answer).values() {
        aws.set_volume(volume, json!({"state": "available"})).await;
    }
    let done = invoke(&restore, replace()).await;
    assert_eq!(done["phase"], "done");
    assert!(
        new_volumes(&done).values().any(|volume| volume == stuck),
        "nothing was made twice"
    );
    assert_masters_find(&aws, &cluster, &new_volumes(&done)).await;
}

#[tokio::test]
async fn a_volume_that_ends_in_error_costs_no_master() {
    let (aws, cluster) = world().await;
    let before = volumes(&aws).await;
    let instances = cluster.instances(&aws).await;
    aws.volumes_end("error", 2).await;
    let restore = Function::start(&aws, "restore", &[]).await;
    let error = restore.invoke(replace()).await.unwrap_err();
    assert_eq!(error.error_type, "VolumeFailed");
    for (id, volume) in &before {
        assert_eq!(&volumes(&aws).await[id], volume);
    }
    assert_eq!(cluster.instances(&aws).await, instances);
    let undone = invoke(&restore, undo()).await;
    assert_eq!(undone["phase"], "undone");
    assert_eq!(
        cluster.instances(&aws).await,
        instances,
        "nothing to exchange, so nobody dies"
    );
    let done = invoke(&restore, replace()).await;
    assert_masters_find(&aws, &cluster, &new_volumes(&done)).await;
}

#[tokio::test]
async fn what_ec2_will_not_make_is_told_with_a_way_out() {
    let (seeded, _) = world().await;
    for (code, way_out) in [
        ("InvalidSnapshot.NotFound", "was deleted meanwhile"),
        (
            "InsufficientVolumeCapacity",
            "no room for this type of volume",
        ),
        ("VolumeLimitExceeded", "the account's limit is reached"),
        ("MaxIOPSLimitExceeded", "the account's limit is reached"),
    ] {
        let aws = seeded.fork().await;
        let restore = Function::start(&aws, "restore", &[]).await;
        let before = volumes(&aws).await;
        aws.fault(
            Fault::error("ec2", "CreateVolume", code, 400)
                .nth(2)
                .forever(),
        )
        .await;
        let error = restore.invoke(replace()).await.expect_err(code);
        assert_eq!(error.error_type, "AwsError");
        for part in [code, way_out, "main/", "the old volumes are as they were"] {
            assert!(error.message.contains(part), "{part}: {}", error.message);
        }
        for (id, volume) in &before {
            assert_eq!(&volumes(&aws).await[id], volume, "{code}");
        }
    }
}

#[tokio::test]
async fn an_archived_snapshot_is_no_part_of_a_restore_point() {
    let (aws, cluster) = world().await;
    let archived = aws.snapshots_of(cluster.volume("main/b")).await.remove(0);
    aws.set_snapshot(&archived, json!({"storage_tier": "archive"}))
        .await;
    let restore = Function::start(&aws, "restore", &[]).await;
    let error = restore.invoke(event()).await.unwrap_err();
    assert_eq!(error.error_type, "NoRestorePoint");
    let expected = format!("main/b ({archived} is in the archive tier)");
    assert!(error.message.contains(&expected), "{}", error.message);
    let list = invoke(&restore, with(json!({"action": "list"}))).await;
    assert!(
        list["text"].as_str().unwrap().contains(&expected),
        "{}",
        list["text"]
    );
}

#[tokio::test]
async fn two_invocations_that_replace_masters_at_the_same_time_leave_one_result() {
    let (aws, cluster) = world().await;
    aws.settings(json!({"instance_terminating_seconds": 2, "volume_creating_seconds": 1}))
        .await;
    let (one, other) = tokio::join!(
        Function::start(&aws, "restore", &[]),
        Function::start(&aws, "restore", &[])
    );
    let before = cluster.instances(&aws).await;
    let (one, other) = tokio::join!(one.invoke(replace()), other.invoke(replace()));
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!(
        (&one["phase"], &other["phase"]),
        (&json!("done"), &json!("done"))
    );
    assert_eq!(new_volumes(&one), new_volumes(&other));
    assert_masters_find(&aws, &cluster, &new_volumes(&one)).await;
    assert!(no_group_is_suspended(&aws).await);
    let after = cluster.instances(&aws).await;
    assert_eq!(after.len(), 3);
    assert!(after.iter().all(|instance| !before.contains(instance)));
    assert_never_two_candidates(&aws).await;
}
