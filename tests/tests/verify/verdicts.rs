//! Verdicts on what isn't sound, and what becomes of them in restore.

use e2e::verify_bed::{CLUSTER, answered};
use e2e::{Function, VerifyBed, etcd_images};
use serde_json::{Value, json};

async fn verified(bed: &VerifyBed) -> Value {
    let verify = bed.verify().await;
    answered(&verify, verify.invoke(json!({"cluster": CLUSTER})).await)
}

/// A set of which these members' databases were overwritten in part.
async fn damaged(members: &[&str]) -> VerifyBed {
    let folder = tempfile::tempdir().unwrap();
    let set = etcd_images("etcd-3.7.1-a").copy_to(folder.path());
    for member in members {
        set.damage_database(member);
    }
    let bed = VerifyBed::of(&set).await;
    // The emulated AWS reads the files as long as the test runs.
    let _ = folder.keep();
    bed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_restore_point_is_caught_and_refused() {
    let bed = damaged(&["a", "b"]).await;
    let answer = verified(&bed).await;
    assert_eq!(answer["verdict"], "damaged", "{answer:#}");
    let members = answer["etcd_clusters"][0]["members"].as_array().unwrap();
    assert_eq!(members[2]["verdict"], "restorable");
    for member in &members[..2] {
        assert_eq!(member["verdict"], "damaged");
        assert!(!member["problems"].as_array().unwrap().is_empty());
    }
    // One member alone can be saved, and how is said.
    let text = answer["text"].as_str().unwrap();
    assert!(text.contains("etcdutl snapshot restore"), "{text}");
    assert_eq!(bed.verdict_tags("main/c").await["verified"], "damaged");
    let restore = Function::start(&bed.aws, "restore", &[]).await;
    let list = answered(
        &restore,
        restore
            .invoke(json!({"action": "list", "cluster": CLUSTER}))
            .await,
    );
    assert_eq!(list["restore_points"][0]["verified"], "damaged");
    assert!(list["text"].as_str().unwrap().contains("verified: damaged"));
    let plan = json!({"action": "plan", "cluster": CLUSTER});
    let refused = restore.invoke(plan.clone()).await.unwrap_err();
    assert_eq!(refused.error_type, "RestorePointDamaged", "{refused}");
    // That member's snapshot has the tag as well, and is not said to be damaged by itself.
    let found = "verify found main damaged (";
    assert!(refused.to_string().contains(found), "{refused}");
    let mut anyway = plan;
    anyway["allow_damaged"] = true.into();
    let planned = answered(&restore, restore.invoke(anyway).await);
    let warnings = planned["warnings"].to_string();
    assert!(warnings.contains(found), "{warnings}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quorum_that_is_sound_can_be_restored() {
    let bed = damaged(&["b"]).await;
    let answer = verified(&bed).await;
    assert_eq!(answer["verdict"], "degraded", "{answer:#}");
    assert_eq!(
        answer["etcd_clusters"][0]["members"][1]["verdict"],
        "damaged"
    );
    for member in ["main/a", "main/b", "main/c"] {
        assert_eq!(bed.verdict_tags(member).await["verified"], "degraded");
    }
    let restore = Function::start(&bed.aws, "restore", &[]).await;
    let plan = json!({"action": "plan", "cluster": CLUSTER});
    assert_eq!(
        answered(&restore, restore.invoke(plan).await)["phase"],
        "planned"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_order_of_the_start_reaches_restore() {
    let bed = VerifyBed::of(&etcd_images("etcd-3.6.14-b")).await;
    let answer = verified(&bed).await;
    let first = answer["etcd_clusters"][0]["start_first"]
        .as_array()
        .unwrap();
    assert_eq!(first.len(), 2, "{answer:#}");
    let restore = Function::start(&bed.aws, "restore", &[]).await;
    let plan = json!({"action": "plan", "cluster": CLUSTER, "masters": "replace"});
    let planned = answered(&restore, restore.invoke(plan).await);
    let planned = planned["start_first"].as_array().unwrap();
    for member in first {
        let key = format!("main/{}", member.as_str().unwrap());
        assert!(planned.contains(&json!(key)), "{planned:?} lacks {key}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blank_volume_is_told_from_one_with_data() {
    let set = etcd_images("etcd-3.7.1-a");
    let bed = VerifyBed::of(&set).await;
    let verify = bed.verify().await;
    // A filesystem's superblock, and nothing else: as from a volume that was made blank.
    let folder = tempfile::tempdir().unwrap();
    let blank = folder.path().join("blank.img");
    std::fs::File::create(&blank)
        .unwrap()
        .set_len(1 << 20)
        .unwrap();
    for key in bed.cluster.volumes.keys() {
        bed.give(&key.to_string(), &blank).await;
    }
    bed.next_run().await;
    // As where somebody made the volume of a snapshot, with its tags.
    let copied =
        json!({"etcd-backup/verified-snapshot": "snap-0", "etcd-backup/objects": "pods=412"});
    let of_a = bed.newest("main/a").await;
    bed.aws.set_snapshot(&of_a, json!({"tags": copied})).await;
    let answer = answered(&verify, verify.invoke(json!({"cluster": CLUSTER})).await);
    let verdict = answer["verdict"].as_str().unwrap();
    assert!(["damaged", "unsupported"].contains(&verdict));
    let tags = bed.verdict_tags("main/a").await;
    assert_eq!(
        (tags["verified"].as_str(), tags["objects"].as_str()),
        (verdict, ""),
        "{answer:#}"
    );
    assert_ne!(
        answer["etcd_clusters"][0]["members"][0]["problems"],
        json!([])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_since_the_last_verdict_is_a_warning() {
    let bed = VerifyBed::of(&etcd_images("etcd-3.7.1-b")).await;
    assert_eq!(verified(&bed).await["verdict"], "restorable");
    // The same cluster, and what it would say of a later state; then another cluster.
    for member in ["main/a", "main/b", "main/c"] {
        let newest = bed.newest(member).await;
        let later = json!({"etcd-backup/verified-revision": "99999999", "etcd-backup/objects": "pods=99999"});
        bed.aws.set_snapshot(&newest, json!({"tags": later})).await;
    }
    bed.next_run().await;
    let fallen = verified(&bed).await;
    assert_eq!(fallen["verdict"], "restorable");
    let warnings = fallen["etcd_clusters"][0]["members"][0]["warnings"].to_string();
    for said in [
        "The revision has fallen",
        "Much fewer objects",
        "pods from 99999 to",
    ] {
        assert!(warnings.contains(said), "{warnings}");
    }
    for (member, image) in etcd_images("etcd-3.6.14-b").images {
        bed.give(&format!("main/{member}"), &image).await;
    }
    bed.next_run().await;
    let other = verified(&bed).await;
    assert_eq!(other["verdict"], "restorable");
    let warnings = other["etcd_clusters"][0]["members"][0]["warnings"].to_string();
    assert!(
        warnings.contains("The cluster's id has changed"),
        "{warnings}"
    );
}
