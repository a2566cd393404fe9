//! The scenes about verify: a real etcd inside the volumes, read out of last night's snapshots before
//! anybody has to rely on them; and a restore point that is damaged, caught and refused.

use std::path::Path;

use e2e::verify_bed::{CLUSTER, completed};
use e2e::{Function, VerifyBed, etcd_images};
use serde_json::json;

use crate::stage::Stage;

/// A crashed set of real members, taken under load.
const SET: &str = "etcd-3.6.14-b";

/// Verified, then restored from what was verified.
pub async fn read_before_relied_on(stage: &mut Stage) {
    stage.scene(
        "Another account: volumes with a real etcd 3.6 in them, snapshotted under load, seconds apart",
    );
    let set = etcd_images(SET);
    let bed = VerifyBed::of(&set).await;
    stage.scene(
        "The last member's snapshot is completed: EventBridge tells verify, which reads the run",
    );
    let verify = bed.verify().await;
    let last = bed.newest("main/c").await;
    stage.invoke(&verify, "verify", completed(&last)).await;
    stage.say("The warnings are right: these volumes' contents were taken elsewhere, days before.");
    stage.scene("restore knows: the list has the verdict, the plan who must start first");
    let restore = Function::start(&bed.aws, "restore", &[]).await;
    stage
        .invoke(
            &restore,
            "restore",
            json!({"action": "list", "cluster": CLUSTER}),
        )
        .await;
    let plan = json!({"action": "plan", "cluster": CLUSTER, "masters": "replace"});
    stage.invoke(&restore, "restore", plan.clone()).await;
    damaged_one(stage, &bed, &verify, &restore).await;
}

async fn damaged_one(stage: &mut Stage, bed: &VerifyBed, verify: &Function, restore: &Function) {
    stage.scene("The next night two members' databases are damaged, and nobody has noticed");
    let folder = tempfile::tempdir().expect("a folder for damaged images");
    damage(bed, folder.path()).await;
    bed.next_run().await;
    stage.scene("verify's hourly sweep reads what has no verdict yet");
    stage.invoke(verify, "verify", json!({})).await;
    stage.scene("audit: critical, with the way back");
    let audit = Function::start(&bed.aws, "audit", &[("VERIFY", "daily")]).await;
    let now = bed.aws.clock().await;
    stage.invoke(&audit, "audit", json!({"now": now})).await;
    stage.scene("restore refuses it, unless it is told otherwise");
    let event = json!({"cluster": CLUSTER, "masters": "replace"});
    stage.command("restore", &event);
    let refused = restore.invoke(event).await;
    let refused = refused.expect_err("a damaged restore point is refused");
    stage.show(&refused.to_string());
}

async fn damage(bed: &VerifyBed, folder: &Path) {
    let set = etcd_images(SET).copy_to(folder);
    for member in ["a", "b"] {
        set.damage_database(member);
        bed.give(&format!("main/{member}"), &set.images[member])
            .await;
    }
}
