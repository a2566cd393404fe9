//! Undo and redo: the old volumes come back and go again, all members together, whatever became of tags.

use super::*;
use etcd_backup_core::Tags;

async fn tags(bed: &RestoreBed) -> BTreeMap<VolumeId, Tags> {
    let volumes = bed.volumes().await.into_iter();
    volumes.map(|(id, volume)| (id, volume.tags)).collect()
}

#[tokio::test]
async fn an_undone_restore_leaves_the_old_volumes_as_they_were() {
    let bed = RestoreBed::fleet(2).await;
    let before = tags(&bed).await;
    let done = bed.done(json!({})).await;
    let restored = tags(&bed).await;

    let undone = bed.undone(json!({})).await;
    assert_eq!(undone["action"], "undo");
    assert_eq!(undone["restore_id"], done["restore_id"]);
    let after = tags(&bed).await;
    for (id, tags) in &before {
        assert_eq!(&after[id], tags, "{id} is as it was");
    }
    assert_eq!(answered_volumes(&undone), bed.old());
    for (key, new) in answered_volumes(&done) {
        assert_eq!(
            after[&new]["etcd-backup/replaced-by"],
            bed.old()[&key].as_str()
        );
        let is_live = |tag: &&String| tag.starts_with("k8s.io/") || *tag == "Name";
        assert_eq!(after[&new].keys().find(is_live), None, "{key}");
    }

    // The same event again, as a retry would send it, and a look at it.
    bed.aws.clear_calls().await;
    for same in [json!({"action": "undo"}), json!({"action": "status"})] {
        let answer = bed.ask(same).await;
        assert_eq!(answer["phase"], "undone");
        assert_eq!(answer["members"], undone["members"]);
    }
    let by_id = json!({"action": "undo", "restore_id": done["restore_id"]});
    assert_eq!(bed.ask(by_id).await["phase"], "undone");
    bed.assert_nothing_written().await;

    let redo = json!({"action": "redo"});
    let redone = bed.done(redo.clone()).await;
    assert_eq!(redone["restore_id"], done["restore_id"]);
    assert_eq!(redone["members"], done["members"]);
    let again = tags(&bed).await;
    for new in answered_volumes(&done).values() {
        assert_eq!(again[new], restored[new]);
    }
    bed.aws.clear_calls().await;
    for same in [redo, json!({}), json!({"action": "status"})] {
        let answer = bed.ask(same.clone()).await;
        assert_eq!(answer["phase"], "done", "{same}");
        assert_eq!(answer["restore_id"], done["restore_id"], "{same}");
        assert_eq!(answer["members"], done["members"], "{same}");
    }
    bed.assert_nothing_written().await;

    let undone = bed.undone(json!({})).await;
    assert_eq!(answered_volumes(&undone), bed.old());
}

#[tokio::test]
async fn an_unfinished_restore_is_given_up_wherever_it_stopped() {
    let seeded = RestoreBed::fleet(1).await;
    let before = tags(&seeded).await;
    // While volumes are made; while journals are written; between untagging and tagging; while tagging.
    for (operation, nth) in [
        ("CreateVolume", 4),
        ("CreateTags", 3),
        ("DeleteTags", 1),
        ("CreateTags", 7),
        ("CreateTags", 9),
    ] {
        let bed = seeded.fork().await;
        let denied = Fault::error("ec2", operation, "UnauthorizedOperation", 403);
        bed.fails(json!({}), denied.nth(nth).forever()).await;
        let begun = bed.ask(json!({"action": "status"})).await;
        let phases = ["creating", "exchanging"];
        assert!(
            phases.contains(&begun["phase"].as_str().unwrap()),
            "{begun}"
        );

        let undone = bed.undone(json!({})).await;
        assert_eq!(undone["restore_id"], begun["restore_id"]);
        let after = tags(&bed).await;
        for (id, tags) in &before {
            assert_eq!(&after[id], tags, "{operation} {nth}: {id} is as it was");
        }
        bed.aws.clear_calls().await;
        let repeated = bed.ask(json!({"action": "undo"})).await;
        assert_eq!(repeated["phase"], "undone");
        bed.assert_nothing_written().await;
        bed.done(json!({})).await;
    }
}

#[tokio::test]
async fn an_undo_in_the_middle_is_ended_before_anything_else() {
    let bed = RestoreBed::fleet(1).await;
    let done = bed.done(json!({})).await;
    let undo = json!({"action": "undo"});
    bed.stopped_in_the_middle(undo.clone()).await;
    let id = done["restore_id"].as_str().unwrap();
    let error = bed.refused(json!({}), "RestoreInProgress").await;
    assert_says(&json!(error.message), &["undo", id]);
    let status = bed.ask(json!({"action": "status"})).await;
    assert_eq!(
        (&status["phase"], &status["restore_id"]),
        (&json!("exchanging"), &done["restore_id"])
    );
    bed.undone(json!({})).await;
}

#[tokio::test]
async fn an_unknown_restore_cannot_be_undone() {
    let bed = RestoreBed::small().await;
    for action in ["undo", "redo", "status"] {
        bed.refused(json!({"action": action}), "RestoreNotFound")
            .await;
        let id = json!({"action": action, "restore_id": "r-000000000000"});
        bed.refused(id, "RestoreNotFound").await;
    }
    bed.done(json!({})).await;
    let at = json!({"action": "undo", "at": bed.now().await});
    bed.refused(at, "InvalidEvent").await;
}

#[tokio::test]
async fn a_restore_below_another_is_undone_after_that() {
    let bed = RestoreBed::small().await;
    let first = bed.done(json!({})).await;
    let second = bed.done(json!({"skew_minutes_max": 30})).await;
    let lower = json!({"action": "undo", "restore_id": first["restore_id"]});
    let error = bed.refused(lower.clone(), "UndoImpossible").await;
    assert_says(
        &json!(error.message),
        &[second["restore_id"].as_str().unwrap()],
    );
    bed.undone(json!({})).await;
    let undone = bed.undone(json!({"restore_id": first["restore_id"]})).await;
    assert_eq!(answered_volumes(&undone), bed.old());
}

/// All members turn together, or none does.
#[tokio::test]
async fn an_undo_that_can_not_bring_all_back_brings_none() {
    let seeded = RestoreBed::fleet(1).await;
    let bed = seeded.fork().await;
    let done = bed.done(json!({})).await;
    bed.lose("events/b").await;
    let error = bed
        .refused(json!({"action": "undo"}), "UndoImpossible")
        .await;
    assert_says(&json!(error.message), &["events/b"]);
    let status = bed.ask(json!({"action": "status"})).await;
    assert_eq!(
        (&status["phase"], &status["restore_id"]),
        (&json!("done"), &done["restore_id"])
    );

    // There never was one, and the restore is finished.
    let bed = seeded.fork().await;
    bed.lose("main/a").await;
    bed.done(json!({})).await;
    let error = bed
        .refused(json!({"action": "undo"}), "UndoImpossible")
        .await;
    assert_says(&json!(error.message), &["main/a"]);

    // There never was one, and it isn't finished: back to what there was.
    let bed = seeded.fork().await;
    bed.lose("main/a").await;
    bed.stopped_in_the_middle(json!({})).await;
    let undone = bed.ask(json!({"action": "undo"})).await;
    assert_eq!(undone["phase"], "undone");
    let mut old = bed.old();
    old.remove("main/a");
    bed.assert_masters_find(&old).await;
    let found = e2e::restores::found_by_masters(&bed.aws, &bed.cluster).await;
    assert!(!found.contains_key("main/a"), "{found:?}");
    bed.done(json!({})).await;

    // A redo whose restored volume is gone.
    let bed = seeded.fork().await;
    let done = bed.done(json!({})).await;
    bed.undone(json!({})).await;
    let gone = &answered_volumes(&done)["events/c"];
    bed.cluster.lose_volume(&bed.aws, gone).await;
    let error = bed
        .refused(json!({"action": "redo"}), "UndoImpossible")
        .await;
    assert_says(&json!(error.message), &["events/c"]);
}

/// After such a cleaning an undo once said "gone" of volumes that were there, or brought some back and
/// not others, and said that it was done.
#[tokio::test]
async fn no_undo_needs_the_tags_that_a_restore_left() {
    let seeded = RestoreBed::fleet(1).await;
    let before = tags(&seeded).await;
    let done = seeded.done(json!({})).await;
    let restored = tags(&seeded).await;
    let new = answered_volumes(&done);
    for actor in [
        Actor::tag_cleaner(),
        Actor::kops_update(&seeded.cluster, true),
        Actor::terraform_apply_to(&seeded.cluster, &new),
        Actor::TagCleaner {
            prefixes: vec![String::new()],
        },
    ] {
        let bed = seeded.fork().await;
        let retired_alone =
            matches!(&actor, Actor::TagCleaner { prefixes } if prefixes[0].is_empty());
        if retired_alone {
            for old in bed.old().values() {
                let keys = restored[old].keys();
                let off = Map::from_iter(keys.map(|key| (key.clone(), Value::Null)));
                bed.aws.set_volume(old, json!({"tags": off})).await;
            }
        } else {
            bed.aws.act(&actor).await;
        }
        bed.undone(json!({})).await;
        let after = tags(&bed).await;
        for old in bed.old().values() {
            assert_eq!(after[old], before[old], "{actor:?}: {old} is as it was");
        }
        bed.done(json!({"action": "redo"})).await;
        bed.assert_never_two_candidates().await;
    }
}

#[tokio::test]
async fn a_retired_volume_that_terraform_tagged_again_is_found_where_it_should_be() {
    let seeded = RestoreBed::small().await;
    seeded.done(json!({})).await;
    let bed = seeded.fork().await;
    bed.aws.act(&Actor::terraform_apply(&bed.cluster)).await;
    let status = bed.ask(json!({"action": "status"})).await;
    for found in status["masters_find"].as_array().unwrap() {
        assert_eq!(found["volume_ids"].as_array().unwrap().len(), 2, "{found}");
    }
    let undone = bed.ask(json!({"action": "undo"})).await;
    assert_eq!(undone["phase"], "undone");
    let found = e2e::restores::found_by_masters(&bed.aws, &bed.cluster).await;
    for (member, old) in bed.old() {
        assert_eq!(found[&member], BTreeSet::from([old]), "{member}");
    }

    // Another restore doesn't choose between the two.
    let bed = seeded;
    bed.aws.act(&Actor::terraform_apply(&bed.cluster)).await;
    let error = bed
        .refused(json!({"skew_minutes_max": 30}), "MemberDuplicated")
        .await;
    let old = bed.old();
    let is_told = |volume: &VolumeId| error.message.contains(volume.as_str());
    assert!(old.values().any(is_told), "{}", error.message);
}

#[tokio::test]
async fn a_volume_that_kops_made_in_between_is_refused_or_gives_way() {
    let bed = RestoreBed::small().await;
    let done = bed.done(json!({})).await;
    let lost = &answered_volumes(&done)["main/a"];
    bed.cluster.lose_volume(&bed.aws, lost).await;
    bed.aws.act(&Actor::kops_update(&bed.cluster, true)).await;
    // Neither outgoing nor incoming: masters would find it beside the one that comes back.
    let error = bed
        .refused(json!({"action": "undo"}), "VolumeTagWrong")
        .await;
    let found = e2e::restores::found_by_masters(&bed.aws, &bed.cluster).await;
    let blank = found["main/a"].first().unwrap().clone();
    assert_says(&json!(error.message), &[blank.as_str(), "delete-tags"]);
    bed.cluster.lose_volume(&bed.aws, &blank).await;
    bed.undone(json!({})).await;
}

/// The old volume never had its role tag, so masters would not find it when it comes back.
#[tokio::test]
async fn an_old_volume_that_masters_would_not_find_is_completed_or_refused() {
    let bed = RestoreBed::small().await;
    let old = bed.cluster.volume("main/a").clone();
    let without = json!({"tags": {"k8s.io/role/master": null}});
    bed.aws.set_volume(&old, without).await;
    match bed.try_ask(json!({})).await {
        Err(error) => assert_eq!(error.error_type, "VolumeTagWrong", "{error}"),
        Ok(done) => {
            assert_eq!(done["phase"], "done");
            match bed.try_ask(json!({"action": "undo"})).await {
                Ok(undone) => bed.assert_masters_find(&answered_volumes(&undone)).await,
                Err(error) => {
                    assert_eq!(error.error_type, "VolumeTagWrong", "{error}");
                    assert_says(&json!(error.message), &[old.as_str(), "create-tags"]);
                    bed.assert_masters_find(&answered_volumes(&done)).await;
                }
            }
        }
    }
}

#[tokio::test]
async fn an_undo_whose_restored_volumes_are_gone_brings_the_old_ones_back() {
    let bed = RestoreBed::fleet(1).await;
    let done = bed.done(json!({})).await;
    for volume in answered_volumes(&done).values() {
        bed.cluster.lose_volume(&bed.aws, volume).await;
    }
    let undone = bed.undone(json!({})).await;
    assert_eq!(answered_volumes(&undone), bed.old());
}
