//! Replacing the masters: all are gone before the exchange, none is lost, and launches go on after it.

use super::*;

use aws_sdk_autoscaling::types::AutoScalingGroup;
use etcd_backup_core::ids::InstanceId;

fn replace() -> Value {
    with(json!({"masters": "replace"}))
}

async fn groups(aws: &EmulatedAws) -> Vec<AutoScalingGroup> {
    let described = aws.autoscaling().describe_auto_scaling_groups().send();
    let mut groups = described.await.unwrap().auto_scaling_groups.unwrap();
    groups.retain(|group| group.auto_scaling_group_name().unwrap().contains("k8s."));
    groups
}

/// What a restore leaves on groups: none of them suspended, none of them tagged.
async fn assert_resumed(aws: &EmulatedAws) {
    for group in groups(aws).await {
        assert!(group.suspended_processes().is_empty(), "{group:?}");
        let mut tags = group.tags().iter();
        assert!(
            !tags.any(|tag| tag.key().unwrap().starts_with("etcd-backup/")),
            "{group:?}"
        );
    }
}

async fn suspend_by_hand(aws: &EmulatedAws, group: &str) {
    let request = aws.autoscaling().suspend_processes();
    let request = request
        .auto_scaling_group_name(group)
        .scaling_processes("Launch");
    request.send().await.unwrap();
}

/// The masters' instances, sorted.
async fn instances(fleet: &BackedUpFleet) -> BTreeSet<InstanceId> {
    fleet
        .cluster
        .instances(&fleet.aws)
        .await
        .into_iter()
        .collect()
}

#[tokio::test]
async fn masters_come_back_on_the_restored_volumes_alone() {
    let fleet = backed_up_fleet(2).await;
    fleet
        .aws
        .settings(json!({"instance_terminating_seconds": 3}))
        .await;
    let restore = fleet.function("restore").await;
    let before = instances(&fleet).await;

    let plan = invoke(
        &restore,
        with(json!({"masters": "replace", "action": "plan"})),
    )
    .await;
    let dying = plan["masters"]["terminate"].as_array().unwrap().iter();
    let dying: BTreeSet<InstanceId> = dying.map(|id| id.as_str().unwrap().into()).collect();
    assert_eq!(dying, before, "the plan says which instances die");
    for instance in &before {
        assert!(
            plan["text"].as_str().unwrap().contains(instance.as_str()),
            "{}",
            plan["text"]
        );
    }
    assert_eq!(fleet.aws.writes().await.len(), 0);
    assert_eq!(instances(&fleet).await, before);

    let done = invoke(&restore, replace()).await;
    assert_eq!(done["phase"], "done");
    assert!(
        !done["next_steps"]
            .to_string()
            .contains("terminate-instances")
    );
    assert_masters_find(&fleet.aws, &fleet.cluster, &new_volumes(&done)).await;
    assert_resumed(&fleet.aws).await;
    let after = instances(&fleet).await;
    assert_eq!(after.len(), 3);
    assert!(after.is_disjoint(&before));
    let taken = fleet.cluster.boot_masters(&fleet.aws).await;
    let taken: BTreeSet<VolumeId> = taken.into_values().flatten().collect();
    assert_eq!(taken, new_volumes(&done).into_values().collect());
    assert_never_two_candidates(&fleet.aws).await;

    // Launches stopped before the first master died, and no tag moved before the last one let go.
    let writes = fleet.aws.writes().await;
    let first = |operation: &str| {
        writes
            .iter()
            .position(|call| call.operation == operation)
            .unwrap()
    };
    let order = [
        "CreateVolume",
        "CreateOrUpdateTags",
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
    let other = &fleet.other.masters[0].instance;
    assert!(
        fleet.other.instances(&fleet.aws).await.contains(other),
        "nobody else's master died"
    );

    // Once more: nothing dies.
    let calls = writes.len();
    assert_eq!(invoke(&restore, replace()).await["phase"], "done");
    assert_eq!(fleet.aws.writes().await.len(), calls);
}

#[tokio::test]
async fn an_undo_can_replace_masters_too() {
    let fleet = backed_up_fleet(1).await;
    let restore = fleet.function("restore").await;
    invoke(&restore, replace()).await;
    fleet.cluster.boot_masters(&fleet.aws).await;
    let before = instances(&fleet).await;
    let undone = invoke(
        &restore,
        with(json!({"action": "undo", "masters": "replace"})),
    )
    .await;
    assert_eq!(undone["phase"], "undone");
    assert!(instances(&fleet).await.is_disjoint(&before));
    assert_resumed(&fleet.aws).await;
    let taken = fleet.cluster.boot_masters(&fleet.aws).await;
    let taken: BTreeSet<VolumeId> = taken.into_values().flatten().collect();
    assert_eq!(taken, fleet.cluster.volumes.values().cloned().collect());
    assert_never_two_candidates(&fleet.aws).await;
}

#[tokio::test]
async fn a_launch_under_way_is_caught() {
    let fleet = backed_up_fleet(1).await;
    fleet.aws.late_launch(&fleet.cluster.masters[1].group).await;
    let restore = fleet.function("restore").await;
    let before = instances(&fleet).await;
    let done = invoke(&restore, replace()).await;
    assert_eq!(done["phase"], "done");
    let terminated: usize = fleet
        .aws
        .writes()
        .await
        .iter()
        .filter(|call| call.operation == "TerminateInstances")
        .map(|call| call.parameters["InstanceIds"].as_array().unwrap().len())
        .sum();
    assert_eq!(terminated, 4, "the late one too");
    assert!(instances(&fleet).await.is_disjoint(&before));
}

#[tokio::test]
async fn what_an_operator_suspended_stays_suspended() {
    let fleet = backed_up_fleet(1).await;
    let group = &fleet.cluster.masters[2].group;
    suspend_by_hand(&fleet.aws, group).await;
    let restore = fleet.function("restore").await;
    let done = invoke(&restore, replace()).await;
    assert_eq!(done["phase"], "done");
    assert!(
        done["warnings"].to_string().contains(group),
        "{}",
        done["warnings"]
    );
    for found in groups(&fleet.aws).await {
        let is_its = found.auto_scaling_group_name() == Some(group);
        assert_eq!(
            found.suspended_processes().len(),
            usize::from(is_its),
            "{found:?}"
        );
        assert!(
            !found
                .tags()
                .iter()
                .any(|tag| tag.key().unwrap().starts_with("etcd-backup/"))
        );
    }
    assert_eq!(instances(&fleet).await.len(), 2);
}

#[tokio::test]
async fn a_failure_between_terminating_and_exchanging_lets_masters_come_back() {
    let fleet = backed_up_fleet(1).await;
    let restore = fleet.function("restore").await;
    let before = instances(&fleet).await;
    let denied = Fault::error("ec2", "CreateTags", "UnauthorizedOperation", 403);
    fleet.aws.fault(denied.clone().forever()).await;
    let error = restore.invoke(replace()).await.unwrap_err();
    assert!(error.message.contains("are resumed"), "{}", error.message);
    assert_resumed(&fleet.aws).await;
    assert!(instances(&fleet).await.is_disjoint(&before));
    let taken = fleet.cluster.boot_masters(&fleet.aws).await;
    let taken: BTreeSet<VolumeId> = taken.into_values().flatten().collect();
    assert_eq!(
        taken,
        fleet.cluster.volumes.values().cloned().collect(),
        "on the old volumes"
    );

    // Resuming fails too: the answer and status say how to do it by hand.
    let refused = Fault::error("autoscaling", "ResumeProcesses", "AccessDenied", 403);
    fleet.aws.fault(refused.forever()).await;
    let error = restore.invoke(replace()).await.unwrap_err();
    assert!(
        error.message.contains("aws autoscaling resume-processes"),
        "{}",
        error.message
    );
    let status = invoke(&restore, with(json!({"action": "status"}))).await;
    assert_eq!(status["phase"], "waiting_for_masters");
    assert!(
        status["next_steps"]
            .to_string()
            .contains("resume-processes"),
        "{status}"
    );
    let audit = fleet.function("audit").await;
    let audited = invoke(&audit, json!({"now": fleet.now().await})).await;
    let critical = audited["findings"].as_array().unwrap().iter();
    let mut critical = critical.filter(|finding| finding["kind"] == "restore_unfinished");
    assert_eq!(critical.next().unwrap()["severity"], "critical");

    fleet.aws.clear_faults().await;
    let done = invoke(&restore, replace()).await;
    assert_eq!(done["phase"], "done");
    assert_resumed(&fleet.aws).await;
    assert_masters_find(&fleet.aws, &fleet.cluster, &new_volumes(&done)).await;
    assert_never_two_candidates(&fleet.aws).await;
}

#[tokio::test]
async fn an_undo_resumes_what_the_restore_suspended() {
    let fleet = backed_up_fleet(1).await;
    fleet
        .aws
        .settings(json!({"instance_terminating_seconds": 60}))
        .await;
    let restore = fleet.function("restore").await;
    let short = InvocationOptions::within(Duration::from_secs(8));
    let waiting = restore.invoke_with(replace(), short).await.unwrap();
    assert_eq!(waiting["phase"], "waiting_for_masters");
    assert!(
        waiting["next_steps"]
            .to_string()
            .contains("resume-processes"),
        "{waiting}"
    );
    let error = refused(&fleet, event()).await;
    assert_eq!(error.error_type, "RestoreInProgress");
    let undone = invoke(&restore, with(json!({"action": "undo"}))).await;
    assert_eq!(undone["phase"], "undone");
    assert_resumed(&fleet.aws).await;
    fleet.aws.advance(Duration::from_secs(60)).await;
    let taken = fleet.cluster.boot_masters(&fleet.aws).await;
    let taken: BTreeSet<VolumeId> = taken.into_values().flatten().collect();
    assert_eq!(taken, fleet.cluster.volumes.values().cloned().collect());
}

#[tokio::test]
async fn groups_that_are_left_suspended_after_the_exchange_keep_the_restore_unfinished() {
    let fleet = backed_up_fleet(1).await;
    let restore = fleet.function("restore").await;
    let refusal = Fault::error("autoscaling", "ResumeProcesses", "AccessDenied", 403);
    fleet.aws.fault(refusal.forever()).await;
    restore.invoke(replace()).await.unwrap_err();
    let audit = fleet.function("audit").await;
    let audited = invoke(&audit, json!({"now": fleet.now().await})).await;
    assert!(
        audited.to_string().contains("restore_unfinished"),
        "{audited}"
    );
    let error = refused(
        &fleet,
        with(json!({"etcd_clusters": ["main"], "again": true})),
    )
    .await;
    assert_eq!(error.error_type, "RestoreInProgress");
    fleet.aws.clear_faults().await;
    assert_eq!(invoke(&restore, replace()).await["phase"], "done");
    assert_resumed(&fleet.aws).await;
}

#[tokio::test]
async fn nothing_dies_where_something_would_be_lost() {
    let fleet = backed_up_fleet(1).await;
    let master = &fleet.cluster.masters[1];
    let instance = master.instance.as_str();
    let protect = |on: bool| {
        let value = aws_sdk_ec2::types::AttributeBooleanValue::builder()
            .value(on)
            .build();
        let request = fleet
            .aws
            .ec2()
            .modify_instance_attribute()
            .instance_id(instance);
        request.disable_api_termination(value).send()
    };
    protect(true).await.unwrap();
    for action in ["plan", "restore"] {
        let error = refused(
            &fleet,
            with(json!({"masters": "replace", "action": action})),
        )
        .await;
        assert_eq!(error.error_type, "MasterProtected");
        assert!(error.message.contains(instance), "{}", error.message);
    }
    protect(false).await.unwrap();

    let deletes = |on: bool| {
        let ebs = aws_sdk_ec2::types::EbsInstanceBlockDeviceSpecification::builder();
        let device = aws_sdk_ec2::types::InstanceBlockDeviceMappingSpecification::builder()
            .device_name("/dev/xvdv")
            .ebs(ebs.delete_on_termination(on).build())
            .build();
        let request = fleet
            .aws
            .ec2()
            .modify_instance_attribute()
            .instance_id(instance);
        request.block_device_mappings(device).send()
    };
    deletes(true).await.unwrap();
    // Of an etcd cluster that isn't restored, but would be lost all the same.
    let main = json!({"masters": "replace", "etcd_clusters": ["main"]});
    let error = refused(&fleet, with(main)).await;
    assert_eq!(error.error_type, "VolumeWouldBeLost");
    assert!(
        error
            .message
            .contains(fleet.cluster.volume("events/b").as_str()),
        "{}",
        error.message
    );
    assert!(error.message.contains("/dev/xvdv"), "{}", error.message);
    deletes(false).await.unwrap();

    let detach = fleet.aws.autoscaling().detach_instances();
    let detach = detach
        .auto_scaling_group_name(&master.group)
        .instance_ids(instance);
    detach
        .should_decrement_desired_capacity(true)
        .send()
        .await
        .unwrap();
    let error = refused(&fleet, replace()).await;
    assert_eq!(error.error_type, "MasterWithoutGroup");
    assert!(error.message.contains(instance), "{}", error.message);

    // Stopped, its volumes detached: it is left alone.
    fleet
        .aws
        .ec2()
        .stop_instances()
        .instance_ids(instance)
        .send()
        .await
        .unwrap();
    let error = refused(&fleet, replace()).await;
    assert_eq!(
        error.error_type, "MasterWithoutGroup",
        "it still holds volumes"
    );
    for member in ["main/b", "events/b"] {
        let volume = fleet.cluster.volume(member).as_str();
        fleet
            .aws
            .ec2()
            .detach_volume()
            .volume_id(volume)
            .send()
            .await
            .unwrap();
    }
    let restore = fleet.function("restore").await;
    assert_eq!(invoke(&restore, replace()).await["phase"], "done");
    let described = fleet
        .aws
        .ec2()
        .describe_instances()
        .instance_ids(instance)
        .send()
        .await
        .unwrap();
    let state = described.reservations()[0].instances()[0]
        .state()
        .unwrap()
        .name()
        .unwrap();
    assert_eq!(state.as_str(), "stopped");
}

#[tokio::test]
async fn a_protokube_cluster_is_restored_by_replacing_its_masters() {
    let (aws, cluster) = backed_up_once(Kops::old("old.mycompany.tld")).await;
    let restore = Function::start(&aws, "restore", &[]).await;
    let event = json!({"cluster": "old.mycompany.tld", "masters": "replace"});
    let done = invoke(&restore, event).await;
    assert_eq!(done["phase"], "done");
    for (member, zone) in &cluster.kops.members {
        let free = protokube_candidates(&aws, "old.mycompany.tld", zone).await;
        for etcd_cluster in ["main", "events"] {
            assert!(free.contains(&new_volumes(&done)[&format!("{etcd_cluster}/{member}")]));
            assert!(!free.contains(cluster.volume(&format!("{etcd_cluster}/{member}"))));
        }
    }
    let undo = json!({"cluster": "old.mycompany.tld", "action": "undo"});
    // Masters that run on the restored volumes would meet the old ones.
    for (index, master) in cluster.masters.iter().enumerate() {
        let instance = cluster.instances(&aws).await[index].clone();
        let volume = &new_volumes(&done)[&format!("main/{}", master.member)];
        let attach = aws.ec2().attach_volume().volume_id(volume.as_str());
        attach
            .instance_id(instance.as_str())
            .device("/dev/xvdu")
            .send()
            .await
            .unwrap();
    }
    let error = restore.invoke(undo).await.unwrap_err();
    assert_eq!(error.error_type, "MastersRunning");
    assert!(error.message.contains("replace"), "{}", error.message);
}

#[tokio::test]
async fn a_repetition_that_would_replace_masters_says_that_they_are_still_to_go() {
    let fleet = backed_up_fleet(1).await;
    let restore = fleet.function("restore").await;
    let before = instances(&fleet).await;
    invoke(&restore, event()).await;
    let repeated = invoke(&restore, replace()).await;
    assert_eq!(repeated["phase"], "done");
    assert_eq!(
        instances(&fleet).await,
        before,
        "nothing changes after done"
    );
    let steps = repeated["next_steps"].to_string();
    assert!(steps.contains("terminate-instances"), "{steps}");
}

#[tokio::test]
async fn masters_do_not_come_back_to_choose_between_two_volumes() {
    let fleet = backed_up_fleet(1).await;
    // It says that it is another cluster's, and yet etcd-manager's filters find it.
    let mut tags = fleet.cluster.kops.volume_tags("main", "a");
    tags.insert(
        "KubernetesCluster".to_owned(),
        "other.mycompany.tld".to_owned(),
    );
    let stray = e2e::fleet::etcd_volume(&fleet.aws, "eu-west-2a", false, &tags).await;
    let restore = fleet.function("restore").await;
    let error = restore.invoke(replace()).await.unwrap_err();
    assert_eq!(error.error_type, "CandidatesWrong");
    assert!(error.message.contains(stray.as_str()), "{}", error.message);
    for group in groups(&fleet.aws).await {
        assert!(!group.suspended_processes().is_empty(), "{group:?}");
    }
    let untagged = json!({"tags": {"k8s.io/etcd/main": null}});
    fleet.aws.set_volume(&stray, untagged).await;
    let done = invoke(&restore, replace()).await;
    assert_eq!(done["phase"], "done");
    assert_resumed(&fleet.aws).await;
}

#[tokio::test]
async fn a_restore_whose_new_volumes_are_gone_is_undone_before_any_other() {
    let fleet = backed_up_fleet(1).await;
    let restore = fleet.function("restore").await;
    let healthy = invoke(&restore, with(json!({"etcd_clusters": ["events"]}))).await;
    let main = json!({"masters": "replace", "etcd_clusters": ["main"]});
    // Cut off after the old volumes are untagged, and what it made is deleted.
    let denied = Fault::error("ec2", "CreateTags", "UnauthorizedOperation", 403);
    let refused_too = Fault::error("autoscaling", "ResumeProcesses", "AccessDenied", 403);
    fleet.aws.fault(denied.nth(4).forever()).await;
    fleet.aws.fault(refused_too.forever()).await;
    restore.invoke(with(main.clone())).await.unwrap_err();
    fleet.aws.clear_faults().await;
    let made = invoke(&restore, with(json!({"action": "status"}))).await;
    for volume in new_volumes(&made).values() {
        fleet.cluster.lose_volume(&fleet.aws, volume).await;
    }
    let error = refused(&fleet, with(main)).await;
    assert_eq!(error.error_type, "RestoreInProgress");
    assert!(
        error.message.contains(r#""action":"undo""#),
        "{}",
        error.message
    );
    let undone = invoke(&restore, with(json!({"action": "undo"}))).await;
    assert_eq!(
        (&undone["phase"], &undone["restore_id"]),
        (&json!("undone"), &made["restore_id"])
    );
    assert_resumed(&fleet.aws).await;
    let mut expected = new_volumes(&healthy);
    for member in ["main/a", "main/b", "main/c"] {
        expected.insert(member.to_owned(), fleet.cluster.volume(member).clone());
    }
    assert_masters_find(&fleet.aws, &fleet.cluster, &expected).await;
}

#[tokio::test]
async fn again_is_gone_on_with_however_late() {
    let fleet = backed_up_fleet(1).await;
    let restore = fleet.function("restore").await;
    invoke(&restore, replace()).await;
    let again = with(json!({"masters": "replace", "again": true}));
    let refusal = Fault::error("autoscaling", "ResumeProcesses", "AccessDenied", 403);
    fleet.aws.fault(refusal.forever()).await;
    restore.invoke(again.clone()).await.unwrap_err();
    fleet.aws.clear_faults().await;
    let made = volumes_where(&fleet.aws, &[("tag-key", "etcd-backup/restore-id")]).await;
    for volume in &made {
        fleet
            .aws
            .set_volume(volume, json!({"create_time": "2026-01-01T00:00:00Z"}))
            .await;
    }
    let done = invoke(&restore, again).await;
    assert_eq!(done["phase"], "done");
    assert_resumed(&fleet.aws).await;
    let after = volumes_where(&fleet.aws, &[("tag-key", "etcd-backup/restore-id")]).await;
    assert_eq!(after, made, "nothing is made once more");
}

#[tokio::test]
async fn a_tag_that_was_left_on_a_group_protects_no_masterless_group() {
    let fleet = backed_up_fleet(1).await;
    let tag = aws_sdk_autoscaling::types::Tag::builder()
        .resource_id(&fleet.cluster.masters[0].group)
        .resource_type("auto-scaling-group")
        .key("etcd-backup/suspended-by")
        .value("r-000000000000")
        .propagate_at_launch(false)
        .build();
    let left = fleet.aws.autoscaling().create_or_update_tags().tags(tag);
    left.send().await.unwrap();
    let master = &fleet.cluster.masters[1];
    let detach = fleet.aws.autoscaling().detach_instances();
    let detach = detach
        .auto_scaling_group_name(&master.group)
        .instance_ids(master.instance.as_str());
    detach
        .should_decrement_desired_capacity(true)
        .send()
        .await
        .unwrap();
    assert_eq!(
        refused(&fleet, replace()).await.error_type,
        "MasterWithoutGroup"
    );
}

#[tokio::test]
async fn a_master_on_a_restored_volume_beside_others_on_old_ones_is_told_of() {
    let fleet = backed_up_fleet(1).await;
    let restore = fleet.function("restore").await;
    let done = invoke(&restore, event()).await;
    let master = &fleet.cluster.masters[0];
    for (member, device) in [("main/a", "/dev/xvdu"), ("events/a", "/dev/xvdv")] {
        let old = fleet.cluster.volume(member).as_str();
        fleet
            .aws
            .ec2()
            .detach_volume()
            .volume_id(old)
            .send()
            .await
            .unwrap();
        let attach = fleet.aws.ec2().attach_volume();
        let attach = attach.volume_id(new_volumes(&done)[member].as_str());
        let attach = attach.instance_id(master.instance.as_str()).device(device);
        attach.send().await.unwrap();
    }
    for event in [event(), with(json!({"action": "status"}))] {
        let answer = invoke(&restore, event).await;
        let steps = answer["next_steps"].to_string();
        assert!(steps.contains("terminate-instances"), "{steps}");
    }
}
