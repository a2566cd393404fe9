//! When the same event is the same restore, and when it is another.

use super::*;

/// The same restore, answered again: nothing was written.
async fn assert_same(bed: &RestoreBed, done: &Value, more: Value) {
    bed.aws.clear_calls().await;
    let answer = bed.ask(more.clone()).await;
    for field in ["phase", "restore_id", "restore_point", "members"] {
        assert_eq!(answer[field], done[field], "{more}: {field}");
    }
    bed.assert_nothing_written().await;
}

#[tokio::test]
async fn the_same_event_makes_no_second_set() {
    let bed = RestoreBed::small().await;
    let as_before = InvocationOptions {
        request_id: Some("8476a536-e9f4-11e8-9739-2dfe598c3fcd".to_owned()),
        ..InvocationOptions::default()
    };
    let first = bed
        .try_ask_within(json!({}), as_before.clone())
        .await
        .unwrap();
    bed.aws.clear_calls().await;
    let retried = bed.try_ask_within(json!({}), as_before).await.unwrap();
    assert_eq!(retried["members"], first["members"]);
    bed.assert_nothing_written().await;
    // Defaults filled in, it is the same.
    for same in [
        json!({}),
        json!({"action": "restore"}),
        json!({"masters": "leave", "skew_minutes_max": 60, "again": false, "partial": false}),
        json!({"zones": {}, "allow_damaged": false, "start": "ordered"}),
        json!({"etcd_clusters": ["main"]}),
    ] {
        assert_same(&bed, &first, same).await;
    }
}

#[tokio::test]
async fn another_event_is_another_restore() {
    let bed = RestoreBed::small().await;
    let mut last = bed.done(json!({})).await;
    for other in [
        json!({"skew_minutes_max": 59}),
        json!({}),
        json!({"skew_minutes_max": 61}),
    ] {
        let next = bed.done(other.clone()).await;
        assert_ne!(next["restore_id"], last["restore_id"], "{other}");
        let retired: Vec<_> = next["members"].as_array().unwrap().iter().collect();
        for (member, before) in retired.iter().zip(last["members"].as_array().unwrap()) {
            assert_eq!(member["retired"], json!([before["volume_id"]]), "{other}");
        }
        last = next;
    }
}

#[tokio::test]
async fn runs_that_came_since_make_no_other_restore_of_it_for_a_day() {
    let bed = RestoreBed::small().await;
    let done = bed.done(json!({})).await;
    // The next run is of the restored volumes, but a retry is one.
    bed.aws.advance(23 * HOUR).await;
    assert_same(&bed, &done, json!({})).await;
    bed.aws.advance(2 * HOUR).await;
    let later = bed.done(json!({})).await;
    assert_ne!(later["restore_id"], done["restore_id"]);
    assert_ne!(later["restore_point"]["run"], done["restore_point"]["run"]);
}

#[tokio::test]
async fn a_restore_that_was_undone_is_done_anew() {
    let bed = RestoreBed::small().await;
    let first = bed.done(json!({})).await;
    bed.undone(json!({})).await;
    let second = bed.done(json!({})).await;
    assert_ne!(second["restore_id"], first["restore_id"]);
    assert_ne!(answered_volumes(&second), answered_volumes(&first));
}

#[tokio::test]
async fn a_restore_is_done_anew_where_masters_do_not_find_what_it_brought() {
    let seeded = RestoreBed::small().await;
    let first = seeded.done(json!({})).await;
    let volume = answered_volumes(&first)["main/b"].clone();

    let bed = seeded.fork().await;
    bed.cluster.lose_volume(&bed.aws, &volume).await;
    let second = bed.done(json!({})).await;
    assert_ne!(second["restore_id"], first["restore_id"]);

    // Untagged by hand: for masters it isn't there.
    let bed = seeded.fork().await;
    let untag = json!({"tags": {"k8s.io/etcd/main": null}});
    bed.aws.set_volume(&volume, untag).await;
    let second = bed.done(json!({})).await;
    assert_ne!(second["restore_id"], first["restore_id"]);
}

#[tokio::test]
async fn again_counts_once_within_a_quarter_of_an_hour_of_its_end() {
    let bed = RestoreBed::small().await;
    let first = bed.done(json!({})).await;
    let again = json!({"again": true});
    let second = bed.done(again.clone()).await;
    assert_ne!(second["restore_id"], first["restore_id"]);
    bed.aws.advance(HOUR / 5).await;
    assert_same(&bed, &second, again.clone()).await;
    assert_same(&bed, &second, json!({})).await;
    bed.aws.advance(HOUR / 12).await;
    let third = bed.done(again).await;
    assert_ne!(third["restore_id"], second["restore_id"]);
}

/// A restore of two hours, and a retry of `again` after it: its quarter of an hour begins with its end.
#[tokio::test]
async fn again_counts_once_however_long_its_restore_took() {
    let bed = RestoreBed::small().await;
    bed.done(json!({})).await;
    let again = json!({"again": true});
    bed.stopped_in_the_middle(again.clone()).await;
    bed.aws.advance(2 * HOUR).await;
    let done = bed.done(again.clone()).await;
    assert_same(&bed, &done, again).await;
}

#[tokio::test]
async fn two_restores_that_together_did_all_are_not_one_of_all() {
    let bed = RestoreBed::of(Kops::new(CLUSTER).members(&[("a", "eu-west-2a")])).await;
    let main = bed.done(json!({"etcd_clusters": ["main"]})).await;
    let events = bed.done(json!({"etcd_clusters": ["events"]})).await;
    let all = bed.done(json!({})).await;
    for part in [main, events] {
        assert_ne!(all["restore_id"], part["restore_id"]);
    }
}

#[tokio::test]
async fn history_tells_all_restores_newest_first() {
    let bed = RestoreBed::small().await;
    let none = bed.ask(json!({"action": "history"})).await;
    assert_eq!(none["restores"], json!([]));
    let first = bed.done(json!({})).await;
    bed.undone(json!({})).await;
    bed.done(json!({"action": "redo"})).await;
    let second = bed.done(json!({"skew_minutes_max": 30})).await;
    bed.aws.clear_calls().await;
    let history = bed.ask(json!({"action": "history"})).await;
    assert_eq!(bed.aws.writes().await.len(), 0);
    let [newest, oldest] = history["restores"].as_array().unwrap().as_slice() else {
        panic!("{history}");
    };
    assert_eq!(newest["restore_id"], second["restore_id"]);
    assert_eq!(newest["event"]["skew_minutes_max"], 30);
    assert_eq!(newest["undone_at"], Value::Null);
    assert_eq!(oldest["restore_id"], first["restore_id"]);
    assert_eq!(oldest["run"], first["restore_point"]["run"]);
    let times = ["started_at", "ended_at", "undone_at", "redone_at"];
    let times = times.map(|field| oldest[field].as_str().expect(field));
    assert!(times.is_sorted(), "{times:?}");
    for restore in [newest, oldest] {
        assert_eq!(restore["phase"], "done");
    }
}
