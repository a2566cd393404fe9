//! Undoing: the old volumes come back, nothing is lost, and an undo can be undone.

use super::*;

fn undo() -> Value {
    with(json!({"action": "undo"}))
}

/// The tags by which masters, kops and DLM know volumes, and the journals, of the etcd volumes.
async fn tags(fleet: &BackedUpFleet) -> BTreeMap<VolumeId, BTreeMap<String, String>> {
    let volumes = volumes(&fleet.aws).await.into_iter();
    volumes.map(|(id, (_, tags))| (id, tags)).collect()
}

#[tokio::test]
async fn an_undone_restore_leaves_the_old_volumes_as_they_were() {
    let fleet = backed_up_fleet(2).await;
    let restore = fleet.function("restore").await;
    let before = tags(&fleet).await;
    let done = invoke(&restore, event()).await;
    let restored = tags(&fleet).await;

    let undone = invoke(&restore, undo()).await;
    assert_eq!(undone["action"], "undo");
    assert_eq!(undone["phase"], "undone");
    assert_eq!(undone["restore_id"], done["restore_id"]);
    let after = tags(&fleet).await;
    for (id, tags) in &before {
        assert_eq!(&after[id], tags, "{id} is as it was");
    }
    let old = fleet.cluster.volumes_by_name();
    assert_masters_find(&fleet.aws, &fleet.cluster, &old).await;
    assert_eq!(new_volumes(&undone), old);
    for (key, new) in new_volumes(&done) {
        let journal = &after[&new];
        assert_eq!(
            journal["etcd-backup/retired-by"],
            undone["undo_id"].as_str().unwrap()
        );
        assert_eq!(journal["etcd-backup/replaced-by"], old[&key].as_str());
        assert!(
            !journal.keys().any(|tag| tag.starts_with("k8s.io/")),
            "{journal:?}"
        );
    }

    // The same event again, as a retry would send it, and a look at it.
    fleet.aws.clear_calls().await;
    let repeated = invoke(&restore, undo()).await;
    assert_eq!(repeated["phase"], "undone");
    assert_eq!(repeated["members"], undone["members"]);
    let status = invoke(&restore, with(json!({"action": "status"}))).await;
    assert_eq!(status["phase"], "undone");
    assert_eq!(status["members"], undone["members"]);
    assert_eq!(fleet.aws.writes().await.len(), 0);

    // The undo, undone by its own id.
    let redo = with(json!({"action": "undo", "restore_id": undone["undo_id"]}));
    let redone = invoke(&restore, redo.clone()).await;
    assert_eq!(redone["phase"], "done");
    assert_eq!(redone["members"], done["members"]);
    assert_masters_find(&fleet.aws, &fleet.cluster, &new_volumes(&done)).await;
    for new in new_volumes(&done).values() {
        assert_eq!(tags(&fleet).await[new], restored[new]);
    }
    fleet.aws.clear_calls().await;
    let repeated = invoke(&restore, redo).await;
    assert_eq!(repeated["phase"], "done");
    let repeated = invoke(&restore, event()).await;
    assert_eq!(
        (&repeated["phase"], &repeated["restore_id"]),
        (&json!("done"), &done["restore_id"])
    );
    assert_eq!(repeated["members"], done["members"]);
    assert_eq!(fleet.aws.writes().await.len(), 0);

    // And back once more.
    let undone = invoke(&restore, undo()).await;
    assert_eq!(new_volumes(&undone), old);
    assert_masters_find(&fleet.aws, &fleet.cluster, &old).await;
    assert_never_two_candidates(&fleet.aws).await;
}

#[tokio::test]
async fn an_undone_restore_can_be_done_anew() {
    let fleet = backed_up_fleet(2).await;
    let restore = fleet.function("restore").await;
    let first = invoke(&restore, event()).await;
    // kops update takes tags off that it doesn't know, and the undo must not lean on them.
    for volume in new_volumes(&first).values() {
        fleet
            .aws
            .set_volume(volume, json!({"tags": forgotten()}))
            .await;
    }
    let undone = invoke(&restore, undo()).await;
    assert_eq!(undone["phase"], "undone");
    let second = invoke(&restore, event()).await;
    assert_ne!(second["restore_id"], first["restore_id"]);
    assert_masters_find(&fleet.aws, &fleet.cluster, &new_volumes(&second)).await;
    assert_eq!(volumes(&fleet.aws).await.len(), volumes_seeded(&fleet) + 12);
    assert_never_two_candidates(&fleet.aws).await;
}

#[tokio::test]
async fn an_unfinished_restore_is_given_up_wherever_it_stopped() {
    let fleet = backed_up_fleet(1).await;
    let before = tags(&fleet).await;
    // While volumes are made; while journals are written; between untagging and tagging; while tagging.
    for (operation, nth) in [
        ("CreateVolume", 4),
        ("CreateTags", 3),
        ("CreateTags", 7),
        ("CreateTags", 9),
    ] {
        let aws = fleet.aws.fork().await;
        let restore = Function::start(&aws, "restore", &[]).await;
        let denied = Fault::error("ec2", operation, "UnauthorizedOperation", 403);
        aws.fault(denied.nth(nth).forever()).await;
        restore.invoke(event()).await.unwrap_err();
        aws.clear_faults().await;
        let begun = invoke(&restore, with(json!({"action": "status"}))).await;
        assert!(
            ["creating", "exchanging"].contains(&begun["phase"].as_str().unwrap()),
            "{begun}"
        );

        let undone = invoke(&restore, undo()).await;
        assert_eq!(undone["phase"], "undone", "{operation} {nth}");
        assert_eq!(undone["restore_id"], begun["restore_id"]);
        let after = volumes(&aws).await;
        for (id, tags) in &before {
            assert_eq!(&after[id].1, tags, "{operation} {nth}: {id} is as it was");
        }
        let given_up = volumes_where(&aws, &[("tag:etcd-backup/retired-by", "u-*")]).await;
        assert_eq!(
            given_up.len(),
            after.len() - before.len(),
            "{operation} {nth}"
        );
        aws.clear_calls().await;
        assert_eq!(invoke(&restore, undo()).await["phase"], "undone");
        assert_eq!(aws.writes().await.len(), 0, "{operation} {nth}");

        let done = invoke(&restore, event()).await;
        assert_eq!(done["phase"], "done", "{operation} {nth}");
        assert_masters_find(&aws, &fleet.cluster, &new_volumes(&done)).await;
        assert_never_two_candidates(&aws).await;
    }
}

#[tokio::test]
async fn an_undo_in_the_middle_is_ended_before_anything_else() {
    let fleet = backed_up_fleet(1).await;
    let restore = fleet.function("restore").await;
    let done = invoke(&restore, event()).await;
    let denied = Fault::error("ec2", "CreateTags", "UnauthorizedOperation", 403);
    fleet.aws.fault(denied.nth(9).forever()).await;
    let error = restore.invoke(undo()).await.unwrap_err();
    assert!(
        error.message.contains("send the same event again"),
        "{}",
        error.message
    );
    fleet.aws.clear_faults().await;

    let error = refused(&fleet, event()).await;
    assert_eq!(error.error_type, "RestoreInProgress");
    let id = done["restore_id"].as_str().unwrap();
    assert!(
        error.message.contains(r#""action":"undo""#) && error.message.contains(id),
        "{}",
        error.message
    );
    let status = invoke(&restore, with(json!({"action": "status"}))).await;
    assert_eq!(
        (&status["phase"], &status["restore_id"]),
        (&json!("exchanging"), &done["restore_id"])
    );
    let audit = fleet.function("audit").await;
    let audited = invoke(&audit, json!({"now": fleet.now().await})).await;
    let unfinished = audited["findings"].as_array().unwrap().iter();
    let mut unfinished = unfinished.filter(|finding| finding["kind"] == "restore_unfinished");
    let message = unfinished.next().unwrap()["message"].as_str().unwrap();
    assert!(
        message.starts_with(&format!("The undo of {id}")),
        "{message}"
    );

    let undone = invoke(&restore, undo()).await;
    assert_eq!(undone["phase"], "undone");
    let audited = invoke(&audit, json!({"now": fleet.now().await})).await;
    assert!(
        !audited.to_string().contains("restore_unfinished"),
        "{audited}"
    );
}

#[tokio::test]
async fn where_there_is_no_way_back_it_says_why_and_changes_nothing() {
    let fleet = backed_up_fleet(2).await;
    let restore = fleet.function("restore").await;
    let error = refused(&fleet, undo()).await;
    assert_eq!(error.error_type, "RestoreNotFound");
    let error = refused(
        &fleet,
        with(json!({"action": "undo", "restore_id": "r-000000000000"})),
    )
    .await;
    assert_eq!(error.error_type, "RestoreNotFound");
    let error = refused(&fleet, with(json!({"action": "status"}))).await;
    assert_eq!(error.error_type, "RestoreNotFound");

    // A restore on top of another: the upper one goes first.
    let first = invoke(&restore, with(json!({"etcd_clusters": ["main"]}))).await;
    let older = json!({"etcd_clusters": ["main"], "at": fleet.now().await - Duration::from_secs(24 * 3600)});
    let second = invoke(&restore, with(older)).await;
    assert_ne!(first["restore_id"], second["restore_id"]);
    let lower = with(json!({"action": "undo", "restore_id": first["restore_id"]}));
    let error = refused(&fleet, lower.clone()).await;
    assert_eq!(error.error_type, "UndoImpossible");
    assert!(
        error
            .message
            .contains(second["restore_id"].as_str().unwrap()),
        "{}",
        error.message
    );
    invoke(
        &restore,
        with(json!({"action": "undo", "restore_id": second["restore_id"]})),
    )
    .await;
    let undone = invoke(&restore, lower).await;
    assert_eq!(
        &new_volumes(&undone)["main/a"],
        fleet.cluster.volume("main/a")
    );

    // An old volume that was deleted.
    let done = invoke(&restore, with(json!({"etcd_clusters": ["events"]}))).await;
    let gone = fleet.cluster.volume("events/b");
    fleet.cluster.lose_volume(&fleet.aws, gone).await;
    let error = refused(&fleet, undo()).await;
    assert_eq!(error.error_type, "UndoImpossible");
    assert!(error.message.contains("events/b"), "{}", error.message);
    let status = invoke(&restore, with(json!({"action": "status"}))).await;
    assert_eq!(
        (&status["phase"], &status["restore_id"]),
        (&json!("done"), &done["restore_id"])
    );

    let error = refused(
        &fleet,
        with(json!({"action": "undo", "at": fleet.now().await})),
    )
    .await;
    assert_eq!(error.error_type, "InvalidEvent");
}

#[tokio::test]
async fn status_tells_each_phase_and_writes_nothing() {
    let fleet = backed_up_fleet(1).await;
    let restore = fleet.function("restore").await;
    fleet
        .aws
        .settings(json!({"volume_creating_seconds": 3}))
        .await;
    let short = InvocationOptions::within(Duration::from_secs(7));
    let event = with(json!({"masters": "replace"}));
    fleet
        .aws
        .settings(json!({"instance_terminating_seconds": 60}))
        .await;
    let started = restore
        .invoke_with(event.clone(), short.clone())
        .await
        .unwrap();
    assert_eq!(started["phase"], "creating");
    fleet.aws.clear_calls().await;
    let status = invoke(&restore, with(json!({"action": "status"}))).await;
    assert_eq!(status["phase"], "creating");
    assert_eq!(status["restore_point"], started["restore_point"]);
    assert_eq!(status["masters"]["option"], "replace");
    assert!(
        status["text"].as_str().unwrap().contains("masters=replace"),
        "{}",
        status["text"]
    );
    assert_eq!(fleet.aws.writes().await.len(), 0);

    tokio::time::sleep(Duration::from_secs(3)).await;
    let started = restore.invoke_with(event.clone(), short).await.unwrap();
    assert_eq!(started["phase"], "waiting_for_masters");
    fleet.aws.clear_calls().await;
    let status = invoke(&restore, with(json!({"action": "status"}))).await;
    assert_eq!(status["phase"], "waiting_for_masters");
    assert_eq!(status["masters"]["suspended"].as_array().unwrap().len(), 3);
    assert_eq!(fleet.aws.writes().await.len(), 0);

    fleet.aws.advance(Duration::from_secs(60)).await;
    let done = invoke(&restore, event).await;
    assert_eq!(done["phase"], "done");
    let status = invoke(&restore, with(json!({"action": "status"}))).await;
    assert_eq!(status["phase"], "done");
    for field in ["restore_id", "restore_point", "members"] {
        assert_eq!(status[field], done[field], "{field}");
    }
}

#[tokio::test]
async fn an_undo_that_is_over_stays_over_whatever_came_since() {
    let fleet = backed_up_fleet(2).await;
    let restore = fleet.function("restore").await;
    let first = invoke(&restore, event()).await;
    invoke(&restore, undo()).await;
    let third = invoke(&restore, event()).await;
    // What the first restore's answer gave as the way back, pasted too late.
    let late = with(json!({"action": "undo", "restore_id": first["restore_id"]}));
    fleet.aws.clear_calls().await;
    let answer = invoke(&restore, late).await;
    assert_eq!(answer["phase"], "undone");
    assert!(
        answer["warnings"]
            .to_string()
            .contains(third["restore_id"].as_str().unwrap()),
        "{}",
        answer["warnings"]
    );
    assert_eq!(fleet.aws.writes().await.len(), 0);
    for member in answer["members"].as_array().unwrap() {
        assert_eq!(member["volume_id"], Value::Null, "it is another restore's");
    }
    assert_masters_find(&fleet.aws, &fleet.cluster, &new_volumes(&third)).await;
    let redo = with(
        json!({"action": "undo", "restore_id": format!("u-{}", &first["restore_id"].as_str().unwrap()[2..])}),
    );
    assert_eq!(refused(&fleet, redo).await.error_type, "UndoImpossible");
    invoke(&restore, undo()).await;
    assert_never_two_candidates(&fleet.aws).await;
}

#[tokio::test]
async fn a_volume_that_kops_made_in_between_gives_way_to_the_old_one() {
    let fleet = backed_up_fleet(1).await;
    let restore = fleet.function("restore").await;
    let done = invoke(&restore, event()).await;
    let lost = &new_volumes(&done)["main/a"];
    fleet.cluster.lose_volume(&fleet.aws, lost).await;
    let tags = fleet.cluster.kops.volume_tags("main", "a");
    let blank = e2e::fleet::etcd_volume(&fleet.aws, "eu-west-2a", false, &tags).await;
    let undone = invoke(&restore, undo()).await;
    assert_eq!(undone["phase"], "undone");
    let old = fleet.cluster.volumes_by_name();
    assert_masters_find(&fleet.aws, &fleet.cluster, &old).await;
    let journal = &volumes(&fleet.aws).await[&blank].1;
    assert!(
        journal.contains_key("etcd-backup/was/k8s.io/etcd/main"),
        "{journal:?}"
    );
    assert_never_two_candidates(&fleet.aws).await;
}

#[tokio::test]
async fn an_undo_whose_restored_volumes_are_gone_says_that_it_is_done() {
    let fleet = backed_up_fleet(1).await;
    let restore = fleet.function("restore").await;
    let done = invoke(&restore, event()).await;
    for volume in new_volumes(&done).values() {
        fleet.cluster.lose_volume(&fleet.aws, volume).await;
    }
    let status = invoke(&restore, with(json!({"action": "status"}))).await;
    assert!(
        status["warnings"].to_string().contains("are gone"),
        "{status}"
    );
    assert!(
        !status["next_steps"]
            .to_string()
            .contains("terminate-instances"),
        "{status}"
    );
    let undone = invoke(&restore, undo()).await;
    assert_eq!(undone["phase"], "undone");
    let old = fleet.cluster.volumes_by_name();
    assert_masters_find(&fleet.aws, &fleet.cluster, &old).await;
}

#[tokio::test]
async fn an_unfinished_restore_of_vanished_volumes_can_be_given_up_too() {
    let fleet = backed_up_fleet(2).await;
    let restore = fleet.function("restore").await;
    fleet.cluster.lose_volumes(&fleet.aws).await;
    let denied = Fault::error("ec2", "CreateTags", "UnauthorizedOperation", 403);
    fleet.aws.fault(denied.nth(3).forever()).await;
    restore.invoke(event()).await.unwrap_err();
    fleet.aws.clear_faults().await;
    let undone = invoke(&restore, undo()).await;
    assert_eq!(undone["phase"], "undone");
    let found = etcd_manager_candidates(&fleet.aws, CLUSTER, "main", "eu-west-2a").await;
    assert_eq!(found, [], "as it was before the restore");
    let again = invoke(&restore, event()).await;
    assert_masters_find(&fleet.aws, &fleet.cluster, &new_volumes(&again)).await;
}
