//! kops, Terraform and a cleaner of tags come between any two steps: what they take off, no restore needs.

use super::*;
use std::sync::Arc;

use e2e::restores::found_by_masters;

/// Boundaries tried at the same time.
const AT_ONCE: usize = 8;

fn actors(bed: &RestoreBed) -> [Actor; 3] {
    [
        Actor::tag_cleaner(),
        Actor::kops_update(&bed.cluster, false),
        // kops' own tags stay, everything else goes: the volumes of the cluster, wherever they are.
        Actor::TagCleaner {
            prefixes: vec!["etcd-backup/".to_owned(), "environment".to_owned()],
        },
    ]
}

/// Restores, undoes and redoes while somebody is at work before every call.
#[tokio::test]
async fn tags_are_removed_before_every_call() {
    let seeded = Arc::new(RestoreBed::small().await);
    let mut tries = Vec::new();
    for masters in ["leave", "replace"] {
        for actor in actors(&seeded) {
            let bed = seeded.fork().await;
            tries.push(tokio::spawn(async move {
                bed.aws.fault(Fault::act("*", "*", &actor).forever()).await;
                let with = |action: &str| json!({"action": action, "masters": masters});
                let done = bed.done(with("restore")).await;
                let undone = bed.undone(json!({"masters": masters})).await;
                assert_eq!(answered_volumes(&undone), bed.old());
                let redone = bed.done(with("redo")).await;
                assert_eq!(redone["members"], done["members"]);
                bed.assert_resumed().await;
                let history = bed.ask(json!({"action": "history"})).await;
                assert_eq!(history["restores"].as_array().unwrap().len(), 1);
            }));
        }
    }
    for tried in tries {
        tried.await.unwrap();
    }
}

/// Once, before each call in turn.
#[tokio::test]
async fn tags_are_removed_once_between_any_two_calls() {
    let seeded = RestoreBed::small().await;
    let restored = seeded.fork().await;
    restored.done(json!({})).await;
    for (bed, event, expected) in [
        (&seeded, json!({}), "done"),
        (&restored, json!({"action": "undo"}), "undone"),
    ] {
        bed.aws.clear_calls().await;
        let undisturbed = bed.fork().await;
        undisturbed.ask(event.clone()).await;
        let calls = u32::try_from(undisturbed.aws.calls().await.len()).unwrap();
        let first: Vec<u32> = (1..=calls).collect();
        for chunk in first.chunks(AT_ONCE) {
            let tries = chunk.iter().map(async |nth| {
                let bed = bed.fork().await;
                let actor = &actors(&bed)[*nth as usize % 3];
                bed.aws.fault(Fault::act("*", "*", actor).nth(*nth)).await;
                let answer = bed.ask(event.clone()).await;
                assert_eq!(answer["phase"], expected, "{actor:?} before call {nth}");
                bed.assert_masters_find(&answered_volumes(&answer)).await;
            });
            futures_in_order(tries).await;
        }
    }
}

async fn futures_in_order<F: Future<Output = ()>>(tries: impl Iterator<Item = F>) {
    for tried in tries {
        tried.await;
    }
}

/// After a cleaning, a restore's own tags come back where kops left room: a person can still go back by
/// hand from what the record says.
#[tokio::test]
async fn a_cleaned_cluster_is_restored_again_and_again() {
    let bed = RestoreBed::small().await;
    let mut last = bed.old();
    for skew in [30, 31, 32] {
        let done = bed.done(json!({"skew_minutes_max": skew})).await;
        bed.aws.act(&Actor::tag_cleaner()).await;
        bed.aws.act(&Actor::kops_update(&bed.cluster, true)).await;
        let retired = done["members"].as_array().unwrap().iter();
        let retired: BTreeSet<String> = retired
            .flat_map(|member| strings(&member["retired"]))
            .collect();
        assert_eq!(retired, last.values().map(ToString::to_string).collect());
        last = answered_volumes(&done);
        let found = found_by_masters(&bed.aws, &bed.cluster).await;
        assert_eq!(found.len(), 3);
    }
    bed.undone(json!({})).await;
}

/// `kops update cluster` in the middle finds no volume and makes a blank one: that is no candidate for a
/// restore to pass over in silence.
#[tokio::test]
async fn a_blank_volume_that_kops_makes_in_the_middle_is_not_passed_over() {
    let bed = RestoreBed::small().await;
    bed.stopped_in_the_middle(replace()).await;
    bed.aws.act(&Actor::kops_update(&bed.cluster, true)).await;
    let error = bed.try_ask(replace()).await.unwrap_err();
    let names = ["CandidatesWrong", "VolumeTagWrong"];
    assert!(names.contains(&error.error_type.as_str()), "{error}");
    let found = found_by_masters(&bed.aws, &bed.cluster).await;
    for blanks in found.values() {
        for blank in blanks {
            assert_says(&json!(error.message), &[blank.as_str()]);
        }
    }
    assert!(!suspended_groups(&bed.aws, &bed.cluster).await.is_empty());
    for blank in found.into_values().flatten() {
        bed.cluster.lose_volume(&bed.aws, &blank).await;
    }
    bed.done(replace()).await;
    bed.assert_resumed().await;
}
