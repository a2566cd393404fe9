//! The 80 fleets that kops' own golden outputs show: each lists, plans, is restored with its masters left
//! alone and replaced, audits clean, and is put back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use e2e::kops_fleets::{KopsFleet, kops_accounts};
use e2e::restores::{answered_volumes, restore_function};
use e2e::{Cluster, EmulatedAws, Function, MountedBy, RestoreBed, Style};
use etcd_backup_core::ids::VolumeId;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

/// Clusters restored at the same time.
const AT_ONCE: usize = 6;

/// Whether it is known that etcd-manager mounts its volumes: the newer role is on them, or its masters'
/// groups are owned, as since kops 1.18.
fn is_known_to_be_etcd_managers(fleet: &KopsFleet) -> bool {
    let owned = format!("kubernetes.io/cluster/{}", fleet.cluster);
    let mut groups = fleet.groups.iter().filter(|group| group.is_control_plane());
    let mut volumes = fleet.volumes.iter();
    volumes.any(|volume| volume.tags.contains_key("k8s.io/role/control-plane"))
        || groups.any(|group| group.tags.get(&owned).map(String::as_str) == Some("owned"))
}

/// What one fleet goes through.
async fn goes_through_all(bed: &RestoreBed, fleet: &KopsFleet) {
    let name = &fleet.name;
    let list = bed.ask(json!({"action": "list"})).await;
    assert_eq!(
        list["restore_points"][0]["complete"], true,
        "{name}: {list}"
    );
    let is_protokubes = bed.cluster.kops.style == Style::Old;
    let mut left = json!({});
    if !is_known_to_be_etcd_managers(fleet) {
        bed.refused(json!({}), "MastersRunning").await;
        if is_protokubes {
            // As the refusal says: all masters are stopped first.
            stop_masters(bed).await;
        } else {
            left = json!({"mounted_by": "etcd-manager"});
        }
    }
    let mut plan = left.clone();
    plan["action"] = json!("plan");
    let plan = bed.ask(plan).await;
    assert_eq!(plan["phase"], "planned", "{name}");

    let done = bed.done(left.clone()).await;
    let restored: BTreeSet<_> = answered_volumes(&done).into_keys().collect();
    let members: BTreeSet<_> = bed.old().into_keys().collect();
    assert_eq!(restored, members, "{name}");
    let undone = bed.undone(left).await;
    assert_eq!(answered_volumes(&undone), bed.old(), "{name}");
    if is_protokubes {
        start_masters(bed).await;
    }

    let replaced = bed.done(json!({"masters": "replace"})).await;
    assert_eq!(replaced["masters"]["suspended"], json!([]), "{name}");
    bed.assert_resumed().await;
    assert_masters_run_on(bed, &answered_volumes(&replaced)).await;
}

/// Each master is there again, with its own volumes.
async fn assert_masters_run_on(bed: &RestoreBed, expected: &BTreeMap<String, VolumeId>) {
    let name = bed.cluster.name();
    assert_eq!(
        bed.instances().await.len(),
        bed.cluster.masters.len(),
        "{name}"
    );
    let volumes = bed.volumes().await;
    for (member, volume) in expected {
        assert!(volumes[volume].is_attached, "{name}: {member}");
    }
}

/// What a person does who stops all masters: no launches, no instances.
async fn stop_masters(bed: &RestoreBed) {
    for master in &bed.cluster.masters {
        let suspend = bed.aws.autoscaling().suspend_processes();
        let suspend = suspend.auto_scaling_group_name(&master.group);
        suspend.scaling_processes("Launch").send().await.unwrap();
    }
    let ids = bed.instances().await;
    let terminate = bed.aws.ec2().terminate_instances();
    let ids = ids.iter().map(|id| id.as_str().to_owned()).collect();
    terminate.set_instance_ids(Some(ids)).send().await.unwrap();
}

async fn start_masters(bed: &RestoreBed) {
    for master in &bed.cluster.masters {
        let resume = bed.aws.autoscaling().resume_processes();
        let resume = resume.auto_scaling_group_name(&master.group);
        resume.scaling_processes("Launch").send().await.unwrap();
    }
}

/// Nothing is wrong with any cluster, and nothing is told but what these kinds say of each of them.
async fn assert_audits(bed: &RestoreBed, clusters: &[Cluster], kinds: &[&str], when: &str) {
    let audit = Function::start_in_emulated_time(&bed.aws, "audit", &[]).await;
    let audited = audit.invoke(json!({})).await;
    let audited = audited.unwrap_or_else(|error| panic!("{when}: {error}"));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let findings = audited["findings"].as_array().expect("findings").iter();
    let found: BTreeSet<_> = findings
        .map(|finding| {
            let said = ["severity", "cluster", "kind"].map(|field| text(&finding[field]));
            said.join(" ")
        })
        .collect();
    let expected = |cluster: &Cluster| {
        let kinds = kinds.iter();
        let name = cluster.name().to_owned();
        kinds.map(move |kind| format!("info {name} {kind}"))
    };
    let expected: BTreeSet<_> = clusters.iter().flat_map(expected).collect();
    assert_eq!(found, expected, "{when}: {:#}", audited["findings"]);
    assert_eq!(audited["summary"]["clusters"], clusters.len(), "{when}");
    assert_eq!(
        audited["summary"]["volumes"], audited["summary"]["volumes_covered"],
        "{when}"
    );
}

async fn account_goes_through_all(fleets: Vec<KopsFleet>, at_once: Arc<Semaphore>) {
    let _permit = at_once.acquire().await.expect("it is never closed");
    let aws = EmulatedAws::start().await;
    aws.set_clock(e2e::backed_up::next_noon(aws.clock().await))
        .await;
    let mut clusters = Vec::new();
    for fleet in &fleets {
        clusters.push(fleet.seed(&aws).await);
    }
    e2e::backed_up::back_up_once(&aws).await;
    for cluster in &clusters {
        let mounted_by = match cluster.kops.style {
            Style::New { .. } => MountedBy::EtcdManager,
            Style::Old => MountedBy::Protokube,
        };
        aws.start_masters(cluster, mounted_by).await;
    }
    let mut bed = RestoreBed {
        restore: restore_function(&aws).await,
        aws,
        cluster: clusters[0].clone(),
        others: Vec::new(),
    };
    assert_audits(&bed, &clusters, &[], "before").await;
    for (fleet, cluster) in fleets.iter().zip(&clusters) {
        bed.cluster = cluster.clone();
        goes_through_all(&bed, fleet).await;
    }
    // Nobody deletes the snapshots of what was retired.
    let orphaned = ["snapshots_orphaned"];
    assert_audits(&bed, &clusters, &orphaned, "restored").await;
    bed.next_morning().await;
    assert_audits(&bed, &clusters, &orphaned, "the morning after").await;
    for cluster in &clusters {
        bed.cluster = cluster.clone();
        let undone = bed.undone(json!({"masters": "replace"})).await;
        assert_eq!(answered_volumes(&undone), bed.old(), "{}", cluster.name());
        bed.assert_resumed().await;
        assert_masters_run_on(&bed, &bed.old()).await;
    }
    bed.assert_never_two_candidates().await;
    assert_audits(&bed, &clusters, &orphaned, "put back").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fleet_is_restored_audits_clean_and_is_put_back() {
    let at_once = Arc::new(Semaphore::new(AT_ONCE));
    let accounts = kops_accounts();
    let count: usize = accounts.iter().map(Vec::len).sum();
    assert_eq!(count, 80);
    // A few clusters an account, so that accounts can go on side by side.
    let accounts = accounts.into_iter().flat_map(|account| {
        let parts: Vec<_> = account.chunks(6).map(<[KopsFleet]>::to_vec).collect();
        parts
    });
    let tries: Vec<_> = accounts
        .map(|fleets| tokio::spawn(account_goes_through_all(fleets, Arc::clone(&at_once))))
        .collect();
    for tried in tries {
        tried.await.unwrap();
    }
}
