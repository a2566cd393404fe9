//! Replacing the masters: all are gone before the exchange, none is lost, and launches go on only where
//! masters find one right volume for each member.

use super::*;
use e2e::restores::{found_by_masters, groups};

async fn suspend_by_hand(bed: &RestoreBed, group: &str) {
    let request = bed.aws.autoscaling().suspend_processes();
    let request = request.auto_scaling_group_name(group);
    let request = request.scaling_processes("Launch").send();
    request.await.unwrap();
}

/// The volumes that masters have attached.
async fn mounted(bed: &RestoreBed) -> BTreeSet<VolumeId> {
    let volumes = bed.volumes().await.into_iter();
    let is_etcd = |tags: &etcd_backup_core::Tags| {
        let is_own = tags.get("KubernetesCluster").map(String::as_str) == Some(bed.cluster.name());
        is_own && tags.keys().any(|key| key.starts_with("k8s.io/etcd/"))
    };
    let mounted = volumes.filter(|(_, volume)| volume.is_attached && is_etcd(&volume.tags));
    mounted.map(|(id, _)| id).collect()
}

#[tokio::test]
async fn masters_come_back_on_the_restored_volumes_alone() {
    let bed = RestoreBed::fleet(2).await;
    bed.aws
        .settings(json!({"instance_terminating_seconds": 3}))
        .await;
    let before = bed.instances().await;
    let plan = bed
        .ask(json!({"masters": "replace", "action": "plan"}))
        .await;
    let dying: BTreeSet<_> = strings(&plan["masters"]["terminate"]).into_iter().collect();
    let expected: BTreeSet<_> = before.iter().map(ToString::to_string).collect();
    assert_eq!(dying, expected, "the plan says which instances die");
    for instance in &expected {
        assert_says(&plan["text"], &[instance]);
    }
    assert_eq!(bed.aws.writes().await.len(), 0);

    let done = bed.done(replace()).await;
    let steps = done["next_steps"].to_string();
    assert!(!steps.contains("terminate-instances"), "{steps}");
    assert_eq!(done["masters"]["suspended"], json!([]));
    let dead: BTreeSet<_> = strings(&done["masters"]["terminate"]).into_iter().collect();
    assert_eq!(dead, expected, "the answer says which instances died");
    bed.assert_resumed().await;
    let after = bed.instances().await;
    assert_eq!(after.len(), 3);
    assert!(after.is_disjoint(&before));
    assert_eq!(
        mounted(&bed).await,
        answered_volumes(&done).into_values().collect()
    );

    // Launches stopped before the first master died, and no tag moved before the last one let go.
    let writes = bed.writes().await;
    let first = |operation: &str| {
        let found = writes.iter().position(|call| call.operation == operation);
        found.unwrap_or_else(|| panic!("{operation} was not called"))
    };
    let order = [
        "CreateVolume",
        "SuspendProcesses",
        "TerminateInstances",
        "CreateTags",
        "DeleteTags",
        "ResumeProcesses",
    ];
    assert!(
        order.map(first).is_sorted(),
        "{order:?}: {:?}",
        order.map(first)
    );
    let others = bed.others[0].instances(&bed.aws).await;
    assert!(
        others.contains(&bed.others[0].masters[0].instance),
        "nobody else's master died"
    );

    // Once more: nothing dies.
    bed.aws.clear_calls().await;
    let again = bed.ask(replace()).await;
    assert_eq!(again["phase"], "done");
    assert_eq!(again["masters"]["terminate"], done["masters"]["terminate"]);
    bed.assert_nothing_written().await;
    let plan = json!({"masters": "replace", "action": "plan"});
    let plan = bed.ask(plan).await;
    assert_eq!(plan["masters"]["terminate"], json!([]), "nothing is left");
}

#[tokio::test]
async fn undo_and_redo_replace_masters_too() {
    let bed = RestoreBed::fleet(1).await;
    let done = bed.done(replace()).await;
    let mut before = bed.instances().await;
    for (action, volumes) in [("undo", bed.old()), ("redo", answered_volumes(&done))] {
        let answer = bed
            .ask(json!({"action": action, "masters": "replace"}))
            .await;
        assert_eq!(answered_volumes(&answer), volumes, "{action}");
        let after = bed.instances().await;
        assert!(after.is_disjoint(&before), "{action}");
        before = after;
        bed.assert_resumed().await;
        assert_eq!(
            mounted(&bed).await,
            volumes.into_values().collect(),
            "{action}"
        );
        bed.assert_never_two_candidates().await;
    }
}

#[tokio::test]
async fn a_launch_under_way_is_caught() {
    let bed = RestoreBed::small().await;
    bed.aws.late_launch(&bed.cluster.masters[1].group).await;
    let before = bed.instances().await;
    bed.done(replace()).await;
    let writes = bed.writes().await;
    let terminated: usize = writes
        .iter()
        .filter(|call| call.operation == "TerminateInstances")
        .map(|call| call.parameters["InstanceIds"].as_array().unwrap().len())
        .sum();
    assert_eq!(terminated, 4, "the late one too");
    assert!(bed.instances().await.is_disjoint(&before));
}

#[tokio::test]
async fn what_an_operator_suspended_stays_suspended() {
    let bed = RestoreBed::small().await;
    let group = bed.cluster.masters[0].group.clone();
    suspend_by_hand(&bed, &group).await;
    let done = bed.done(replace()).await;
    assert_says(&done["warnings"], &[&group]);
    assert_eq!(
        done["masters"]["suspended"],
        json!([]),
        "this tool holds none"
    );
    let suspended = suspended_groups(&bed.aws, &bed.cluster).await;
    assert_eq!(suspended, BTreeSet::from([group]));
    assert_eq!(bed.instances().await.len(), 2);
}

/// Between terminating and exchanging, masters come back on the old volumes; once the exchange has begun
/// they don't come back to choose.
#[tokio::test]
async fn a_failure_resumes_launches_only_where_masters_find_one_volume_each() {
    let seeded = RestoreBed::small().await;
    // Before the exchange: the journal can't be written.
    let bed = seeded.fork().await;
    let denied = |operation| Fault::error("ec2", operation, "UnauthorizedOperation", 403).forever();
    let error = bed.fails(replace(), denied("CreateTags")).await;
    assert_eq!(error.error_type, "AwsError");
    bed.assert_resumed().await;
    bed.assert_masters_find(&bed.old()).await;
    assert_eq!(mounted(&bed).await, bed.old().into_values().collect());
    bed.done(replace()).await;

    // In the middle of it: some old volumes are gone from sight, and no new one is there.
    for (operation, nth) in [
        ("CreateTags", 4),
        ("CreateTags", 5),
        ("CreateTags", 6),
        ("DescribeVolumes", 8),
        ("DescribeVolumes", 10),
    ] {
        let bed = seeded.fork().await;
        bed.aws.fault(denied(operation).nth(nth)).await;
        let result = bed.try_ask(replace()).await;
        bed.aws.clear_faults().await;
        let Err(error) = result else {
            continue; // It was done by then.
        };
        let suspended = suspended_groups(&bed.aws, &bed.cluster).await;
        let found = found_by_masters(&bed.aws, &bed.cluster).await;
        let old: BTreeMap<_, _> = bed
            .old()
            .into_iter()
            .map(|(member, id)| (member, BTreeSet::from([id])))
            .collect();
        if found == old {
            continue; // It was not in the middle.
        }
        assert_eq!(suspended.len(), 3, "{operation}: {error}");
        for group in &suspended {
            assert_says(&json!(error.message), &[group]);
        }
        let status = bed.ask(json!({"action": "status"})).await;
        assert_eq!(status["masters"]["suspended"], json!(suspended));
        assert_says(&status["next_steps"], &["resume-processes"]);
        bed.done(replace()).await;
        bed.assert_resumed().await;
    }
}

/// A refused undo, or one failed read, once resumed launches beside two candidates.
#[tokio::test]
async fn nothing_resumes_launches_beside_two_candidates() {
    let bed = RestoreBed::small().await;
    let refusal = Fault::error("autoscaling", "ResumeProcesses", "AccessDenied", 403);
    let error = bed.fails(replace(), refusal.forever()).await;
    let suspended = suspended_groups(&bed.aws, &bed.cluster).await;
    assert!(!suspended.is_empty());
    for group in &suspended {
        assert_says(&json!(error.message), &[group]);
    }
    // Masters would now find two for each member.
    bed.aws.act(&Actor::terraform_apply(&bed.cluster)).await;
    bed.aws.clear_calls().await;
    let unreadable = Fault::error("ec2", "DescribeInstances", "InternalError", 400).forever();
    bed.fails(replace(), unreadable).await;
    let _ = bed
        .try_ask(json!({"action": "undo", "restore_id": "r-000000000000"}))
        .await;
    let resumed = bed.writes().await.into_iter();
    let resumed = resumed.filter(|call| call.operation == "ResumeProcesses");
    assert_eq!(resumed.count(), 0);
    let status = bed.ask(json!({"action": "status"})).await;
    assert_eq!(status["masters"]["suspended"], json!(suspended));

    // The undo takes the restored ones away again, and only then masters come.
    let undone = bed.ask(json!({"action": "undo"})).await;
    assert_eq!(undone["phase"], "undone");
    bed.assert_resumed().await;
    for resumption in bed.aws.resumptions().await {
        let of_cluster = resumption
            .found
            .iter()
            .filter(|found| found.cluster == CLUSTER);
        for found in of_cluster {
            assert_eq!(found.volumes.len(), 1, "{resumption:?}");
        }
    }
}

#[tokio::test]
async fn an_undo_resumes_what_the_restore_suspended() {
    let bed = RestoreBed::small().await;
    bed.aws
        .settings(json!({"instance_terminating_seconds": 600}))
        .await;
    let waiting = bed
        .stopped_by_time(replace(), "waiting_for_masters", Duration::from_secs(8))
        .await;
    assert_says(&waiting["next_steps"], &["resume-processes"]);
    bed.refused(json!({}), "RestoreInProgress").await;
    let undone = bed.ask(json!({"action": "undo"})).await;
    assert_eq!(undone["phase"], "undone");
    bed.assert_resumed().await;
    bed.aws.advance(HOUR).await;
    assert_eq!(mounted(&bed).await, bed.old().into_values().collect());
}

#[tokio::test]
async fn no_master_is_terminated_where_it_is_protected_or_a_volume_would_be_lost() {
    let bed = RestoreBed::fleet(1).await;
    let master = &bed.cluster.masters[1];
    let instance = master.instance.as_str();
    let protect = |on: bool| {
        let value = aws_sdk_ec2::types::AttributeBooleanValue::builder().value(on);
        let request = bed.aws.ec2().modify_instance_attribute();
        let request = request.instance_id(instance);
        request.disable_api_termination(value.build()).send()
    };
    protect(true).await.unwrap();
    for action in ["plan", "restore"] {
        let event = json!({"masters": "replace", "action": action});
        let error = bed.refused(event, "MasterProtected").await;
        assert_says(&json!(error.message), &[instance]);
    }
    protect(false).await.unwrap();

    let deletes = |on: bool| {
        let ebs = aws_sdk_ec2::types::EbsInstanceBlockDeviceSpecification::builder();
        let device = aws_sdk_ec2::types::InstanceBlockDeviceMappingSpecification::builder()
            .device_name("/dev/xvdv")
            .ebs(ebs.delete_on_termination(on).build())
            .build();
        let request = bed.aws.ec2().modify_instance_attribute();
        let request = request.instance_id(instance);
        request.block_device_mappings(device).send()
    };
    deletes(true).await.unwrap();
    // Of an etcd cluster that isn't restored, but would be lost all the same; and with `leave` too, as
    // its next step terminates the masters.
    for masters in ["replace", "leave"] {
        let main = json!({"masters": masters, "etcd_clusters": ["main"]});
        let error = bed.refused(main, "VolumeWouldBeLost").await;
        let volume = bed.cluster.volume("events/b").as_str();
        assert_says(&json!(error.message), &[volume, "/dev/xvdv"]);
    }
    deletes(false).await.unwrap();

    let detach = bed.aws.autoscaling().detach_instances();
    let detach = detach
        .auto_scaling_group_name(&master.group)
        .instance_ids(instance);
    detach
        .should_decrement_desired_capacity(true)
        .send()
        .await
        .unwrap();
    let error = bed.refused(replace(), "MasterWithoutGroup").await;
    assert_says(&json!(error.message), &[instance]);
}

#[tokio::test]
async fn an_old_clusters_masters_are_replaced_or_stopped_first() {
    let bed = RestoreBed::of(Kops::old("old.mycompany.tld").etcd_clusters(&["main"])).await;
    let error = bed.refused(json!({}), "MastersRunning").await;
    let instance = bed.cluster.masters[0].instance.as_str();
    assert_says(&json!(error.message), &[instance, "replace"]);
    let done = bed.done(replace()).await;
    bed.refused(json!({"action": "undo"}), "MastersRunning")
        .await;
    assert_eq!(
        mounted(&bed).await,
        answered_volumes(&done).into_values().collect()
    );
    bed.undone(replace()).await;
}

/// kops 1.9 to 1.11 tag volumes as owned and mount by protokube: volumes' tags don't tell.
#[tokio::test]
async fn what_mounts_the_volumes_follows_from_the_groups_or_the_event() {
    let kops = Kops::new(CLUSTER).etcd_clusters(&["main"]);
    let seeded = RestoreBed::of(kops).await;
    let owned = format!("kubernetes.io/cluster/{CLUSTER}");
    for master in &seeded.cluster.masters {
        let tag = aws_sdk_autoscaling::types::Tag::builder()
            .resource_id(&master.group)
            .resource_type("auto-scaling-group")
            .key(&owned);
        let untag = seeded.aws.autoscaling().delete_tags();
        untag.tags(tag.build()).send().await.unwrap();
    }
    let bed = seeded.fork().await;
    let error = bed.refused(json!({}), "MastersRunning").await;
    assert_says(&json!(error.message), &["mounted_by"]);
    bed.refused(json!({"mounted_by": "protokube"}), "MastersRunning")
        .await;
    bed.done(json!({"mounted_by": "etcd-manager"})).await;

    // Their volumes are detached: nobody meets anybody.
    let bed = seeded.fork().await;
    for master in &bed.cluster.masters {
        suspend_by_hand(&bed, &master.group).await;
    }
    let terminate = bed.aws.ec2().terminate_instances();
    let ids = bed
        .instances()
        .await
        .into_iter()
        .map(|id| id.to_string())
        .collect();
    terminate.set_instance_ids(Some(ids)).send().await.unwrap();
    bed.done(json!({})).await;
}

#[tokio::test]
async fn a_group_whose_desired_size_is_0_is_reported() {
    let bed = RestoreBed::small().await;
    let group = &bed.cluster.masters[2].group;
    let shrink = bed.aws.autoscaling().update_auto_scaling_group();
    let shrink = shrink.auto_scaling_group_name(group).min_size(0);
    shrink.desired_capacity(0).send().await.unwrap();
    let instance = bed.cluster.masters[2].instance.as_str();
    let terminate = bed.aws.ec2().terminate_instances();
    terminate.instance_ids(instance).send().await.unwrap();
    let plan = bed
        .ask(json!({"action": "plan", "masters": "replace"}))
        .await;
    assert_says(&plan["warnings"], &[group]);
    // Nobody waits for a master that never comes.
    let done = bed.done(replace()).await;
    assert_says(&done["warnings"], &[group]);
    bed.assert_resumed().await;
}

#[tokio::test]
async fn a_repetition_that_would_replace_masters_is_another_event() {
    let bed = RestoreBed::small().await;
    let before = bed.instances().await;
    let left = bed.done(json!({})).await;
    let replaced = bed.done(replace()).await;
    assert_ne!(left["restore_id"], replaced["restore_id"]);
    assert!(bed.instances().await.is_disjoint(&before));
}

#[tokio::test]
async fn groups_left_suspended_keep_the_restore_unfinished() {
    let bed = RestoreBed::small().await;
    let refusal = Fault::error("autoscaling", "ResumeProcesses", "AccessDenied", 403);
    bed.fails(replace(), refusal.forever()).await;
    let error = bed
        .refused(json!({"again": true}), "RestoreInProgress")
        .await;
    for group in suspended_groups(&bed.aws, &bed.cluster).await {
        assert_says(&json!(error.message), &[&group]);
    }
    bed.done(replace()).await;
    bed.assert_resumed().await;
    let all = groups(&bed.aws, &bed.cluster).await;
    assert_eq!(all.len(), 3);
}
