//! A restore that was stopped: how it goes on, what it keeps, and how to be rid of it.

use super::*;

/// A restore whose time is up while its volumes are being made.
async fn stopped_while_creating(bed: &RestoreBed, more: Value) -> Value {
    bed.aws
        .settings(json!({"volume_creating_seconds": 600}))
        .await;
    bed.stopped_by_time(more, "creating", Duration::from_secs(8))
        .await
}

#[tokio::test]
async fn an_unfinished_restore_goes_on_and_keeps_its_run() {
    let bed = RestoreBed::fleet(2).await;
    let before = bed.volumes().await;
    let started = stopped_while_creating(&bed, json!({})).await;
    let during = bed.volumes().await;
    for (id, volume) in &before {
        assert_eq!(
            &during[id], volume,
            "nothing is touched while volumes are being made"
        );
    }

    // Volumes are there, and the next run, before anybody goes on.
    bed.next_morning().await;
    let other = bed
        .refused(json!({"skew_minutes_max": 30}), "RestoreInProgress")
        .await;
    let id = started["restore_id"].as_str().unwrap();
    assert!(other.message.contains(id), "{}", other.message);
    for action in ["plan", "history"] {
        bed.ask(json!({"action": action})).await;
    }
    let newer = bed.ask(json!({"action": "list"})).await["restore_points"][0]["run"].clone();
    let status = bed.ask(json!({"action": "status"})).await;
    assert_says(&status["warnings"], &[newer.as_str().unwrap(), "undo"]);
    bed.aws
        .settings(json!({"volume_creating_seconds": 0}))
        .await;
    let done = bed.done(json!({})).await;
    assert_eq!(done["restore_id"], started["restore_id"]);
    assert_eq!(done["restore_point"], started["restore_point"]);
    assert_eq!(answered_volumes(&done), answered_volumes(&started));
    assert_ne!(done["restore_point"]["run"], newer);
}

#[tokio::test]
async fn status_tells_each_phase_and_writes_nothing() {
    let bed = RestoreBed::small().await;
    bed.aws
        .settings(json!({"instance_terminating_seconds": 600}))
        .await;
    let looks = async |phase: &str, started: &Value| {
        bed.aws.clear_calls().await;
        let status = bed.ask(json!({"action": "status"})).await;
        assert_eq!(status["phase"], phase);
        for field in ["restore_id", "restore_point", "members"] {
            assert_eq!(status[field], started[field], "{field}");
        }
        assert_eq!(status["masters"]["option"], "replace");
        assert_eq!(bed.aws.writes().await.len(), 0);
        status
    };
    let started = stopped_while_creating(&bed, replace()).await;
    looks("creating", &started).await;

    bed.aws
        .settings(json!({"volume_creating_seconds": 0}))
        .await;
    let started = bed
        .stopped_by_time(replace(), "waiting_for_masters", Duration::from_secs(15))
        .await;
    let status = looks("waiting_for_masters", &started).await;
    let suspended = suspended_groups(&bed.aws, &bed.cluster).await;
    assert_eq!(suspended.len(), 3);
    assert_eq!(status["masters"]["suspended"], json!(suspended));

    bed.aws.advance(HOUR).await;
    let done = bed.done(replace()).await;
    looks("done", &done).await;
    bed.assert_resumed().await;
}

/// While one invocation works, another looks.
#[tokio::test]
async fn status_tells_how_far_a_restore_is_while_it_works() {
    let bed = RestoreBed::small().await;
    // It works until it was looked at.
    bed.aws
        .settings(json!({"volume_creating_seconds": 600}))
        .await;
    let onlooker = restore_function(&bed.aws).await;
    let looking = async {
        let mut phases = BTreeSet::new();
        while !phases.contains("creating") {
            let event = bed.event(json!({"action": "status"}));
            if let Ok(status) = onlooker.invoke(event).await {
                phases.insert(status["phase"].as_str().unwrap().to_owned());
                if status["phase"] == "creating" {
                    assert_eq!(status["members"].as_array().unwrap().len(), 3);
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bed.aws
            .settings(json!({"volume_creating_seconds": 0}))
            .await;
    };
    let (done, ()) = tokio::join!(bed.done(json!({})), looking);
    assert_eq!(done["phase"], "done");
}

#[tokio::test]
async fn a_begun_exchange_is_ended_whatever_became_of_its_snapshots() {
    let bed = RestoreBed::fleet(2).await;
    bed.stopped_in_the_middle(json!({})).await;
    for key in ["main/b", "events/c"] {
        bed.delete_snapshot(&bed.newest_snapshot(key).await).await;
    }
    bed.done(json!({})).await;
}

#[tokio::test]
async fn a_restore_of_ten_days_ago_is_not_resumed_in_silence() {
    let bed = RestoreBed::fleet(2).await;
    bed.stopped_in_the_middle(json!({})).await;
    for _ in 0..10 {
        bed.next_morning().await;
    }
    let status = bed.ask(json!({"action": "status"})).await;
    let id = status["restore_id"].as_str().unwrap();
    assert_says(&status["warnings"], &["undo"]);
    let other = json!({"etcd_clusters": ["main"]});
    let error = bed.refused(other, "RestoreInProgress").await;
    assert_says(&json!(error.message), &[id, "undo"]);
    let done = bed.done(json!({})).await;
    assert_eq!(done["restore_id"], status["restore_id"]);
}

#[tokio::test]
async fn new_volumes_that_were_deleted_are_made_again_or_given_up() {
    let bed = RestoreBed::fleet(1).await;
    let started = stopped_while_creating(&bed, json!({})).await;
    bed.aws.advance(HOUR).await;
    bed.aws
        .settings(json!({"volume_creating_seconds": 0}))
        .await;
    for volume in answered_volumes(&started).values() {
        bed.cluster.lose_volume(&bed.aws, volume).await;
    }
    // It says that they are gone, or makes them again; the same event ends it in any case.
    if let Err(error) = bed.try_ask(json!({})).await {
        assert_eq!(error.error_type, "VolumeFailed", "{error}");
    }
    let done = bed.done(json!({})).await;
    assert_eq!(done["restore_id"], started["restore_id"]);
}

#[tokio::test]
async fn a_restore_that_cannot_go_on_says_how_to_be_rid_of_it() {
    let bed = RestoreBed::fleet(2).await;
    let denied = Fault::error("ec2", "CreateVolume", "UnauthorizedOperation", 403);
    bed.fails(json!({}), denied.nth(3).forever()).await;
    // Volumes are asked for together, so that which two of them are there is known only now.
    let made = answered_volumes(&bed.ask(json!({"action": "status"})).await);
    let mut members = ["main/a", "main/b", "main/c"].into_iter();
    let lacks = members.find(|key| !made.contains_key(*key));
    let lacks = lacks.expect("two of six volumes are made");
    bed.delete_snapshot(&bed.newest_snapshot(lacks).await).await;

    let error = bed.try_ask(json!({})).await.unwrap_err();
    assert_says(&json!(error.message), &["undo"]);
    bed.undone(json!({})).await;
    let made = volumes_where(&bed.aws, &[("tag-key", "etcd-backup/restore-id")]).await;
    assert!(!made.is_empty(), "what was made is given up, and kept");
    let done = bed.done(json!({})).await;
    let list = bed.ask(json!({"action": "list"})).await;
    assert_eq!(
        done["restore_point"]["run"],
        list["restore_points"][1]["run"]
    );
}

#[tokio::test]
async fn a_restore_that_can_go_neither_on_nor_back_gives_way_to_a_new_one() {
    let bed = RestoreBed::small().await;
    bed.next_morning().await;
    let replace = json!({"masters": "replace"});
    let denied = Fault::error("ec2", "DeleteTags", "UnauthorizedOperation", 403);
    bed.fails(replace.clone(), denied.forever()).await;
    let stopped = bed.ask(json!({"action": "status"})).await;
    assert_eq!(stopped["phase"], "exchanging", "{stopped}");
    let other = json!({"masters": "replace", "skew_minutes_max": 30});
    bed.refused(other.clone(), "RestoreInProgress").await;

    // All that it could go on with, and back to, is lost for one member.
    bed.delete_snapshot(&bed.newest_snapshot("main/b").await)
        .await;
    bed.lose("main/b").await;
    bed.cluster
        .lose_volume(&bed.aws, &answered_volumes(&stopped)["main/b"])
        .await;
    for action in ["undo", "redo"] {
        let more = json!({"action": action, "masters": "replace"});
        bed.refused(more, "UndoImpossible").await;
    }
    let status = bed.ask(json!({"action": "status"})).await;
    assert_says(&status["next_steps"], &["neither on nor back"]);
    let plan = bed
        .ask(json!({"action": "plan", "masters": "replace"}))
        .await;
    assert_says(
        &plan["warnings"],
        &[stopped["restore_id"].as_str().unwrap(), "gives it up"],
    );

    let done = bed.done(other).await;
    assert_ne!(done["restore_id"], stopped["restore_id"]);
    bed.assert_resumed().await;
    let history = bed.ask(json!({"action": "history"})).await;
    assert_eq!(history["restores"][0]["restore_id"], done["restore_id"]);
    assert!(
        history["restores"][1]["abandoned_at"].is_string(),
        "{history}"
    );
    let of_it = json!({"action": "undo", "restore_id": stopped["restore_id"]});
    bed.refused(of_it, "UndoImpossible").await;
}

/// A name that was put on a new volume while it was made once orphaned it, and set after set was made.
#[tokio::test]
async fn a_new_volume_that_somebody_names_stays_the_restores_own() {
    let bed = RestoreBed::small().await;
    let started = stopped_while_creating(&bed, json!({})).await;
    let new = answered_volumes(&started);
    let named = json!({"tags": {"Name": "do not delete", "etcd-backup/restore-id": null,
                                "etcd-backup/member": null, "team": "platform"}});
    bed.aws.set_volume(&new["main/a"], named).await;
    bed.aws
        .settings(json!({"volume_creating_seconds": 0}))
        .await;
    bed.aws.clear_calls().await;
    let done = bed.done(json!({})).await;
    assert_eq!(answered_volumes(&done), new);
    let made = bed.writes().await;
    let made = made.iter().filter(|call| call.operation == "CreateVolume");
    assert_eq!(made.count(), 0);
    let tags = &bed.volumes().await[&new["main/a"]].tags;
    assert_eq!(tags["Name"], format!("a.etcd-main.{CLUSTER}"));
}

#[tokio::test]
async fn an_etcd_cluster_without_recent_snapshots_is_brought_to_its_end_too() {
    let bed = RestoreBed::fleet(2).await;
    let at = bed.now().await;
    for member in ["a", "b", "c"] {
        let volume = bed.cluster.volume(&format!("events/{member}"));
        let untargeted =
            json!({"tags": {"k8s.io/role/master": null, "k8s.io/role/control-plane": "1"}});
        bed.aws.set_volume(volume, untargeted).await;
    }
    for _ in 0..4 {
        bed.next_morning().await;
    }
    let event = json!({"at": at});
    bed.stopped_in_the_middle(event.clone()).await;
    let done = bed.done(event).await;
    assert_eq!(answered_volumes(&done).len(), 6);
}
