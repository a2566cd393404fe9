//! The 80 fleets that kops' own golden outputs show: each lists, plans, is restored with its masters left
//! alone and replaced, audits clean, and is put back.

use std::collections::BTreeSet;
use std::sync::Arc;

use e2e::kops_fleets::{KopsFleet, kops_accounts};
use e2e::restores::{answered_volumes, restore_function};
use e2e::{Cluster, EmulatedAws, Function, MountedBy, RestoreBed, Style};
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
    let mut left = json!({});
    if !is_known_to_be_etcd_managers(fleet) {
        let error = bed.try_ask(json!({})).await.expect_err(name);
        assert_eq!(error.error_type, "MastersRunning", "{name}: {error}");
        left = json!({"mounted_by": "etcd-manager"});
    }
    let mut plan = left.clone();
    plan["action"] = json!("plan");
    let plan = bed.ask(plan).await;
    assert_eq!(plan["phase"], "planned", "{name}");
    let members: BTreeSet<_> = bed.old().into_keys().collect();

    let done = bed.done(left).await;
    let restored = answered_volumes(&done);
    assert_eq!(
        restored.keys().cloned().collect::<BTreeSet<_>>(),
        members,
        "{name}"
    );
    let mut undo = json!({});
    if !is_known_to_be_etcd_managers(fleet) {
        undo["mounted_by"] = json!("etcd-manager");
    }
    let undone = bed.undone(undo).await;
    assert_eq!(answered_volumes(&undone), bed.old(), "{name}");

    let replaced = bed.done(json!({"masters": "replace"})).await;
    assert_eq!(replaced["masters"]["suspended"], json!([]), "{name}");
    bed.assert_resumed().await;
    assert_eq!(
        bed.instances().await.len(),
        bed.cluster.masters.len(),
        "{name}"
    );
}

/// Nothing is wrong with any cluster, but what nobody can have done yet.
async fn assert_audits_clean(aws: &EmulatedAws, clusters: &[Cluster], when: &str) {
    let audit = Function::start_in_emulated_time(aws, "audit", &[]).await;
    let audited = audit.invoke(json!({})).await;
    let audited = audited.unwrap_or_else(|error| panic!("{when}: {error}"));
    let names: BTreeSet<_> = clusters.iter().map(Cluster::name).collect();
    let findings = audited["findings"].as_array().expect("findings").iter();
    let wrong: Vec<&Value> = findings
        .filter(|finding| finding["severity"] != "info")
        .filter(|finding| {
            finding["cluster"]
                .as_str()
                .is_none_or(|name| names.contains(name))
        })
        // There is no topic, and nothing was verified.
        .filter(|finding| {
            !["alerts_go_nowhere", "restore_point_unverified"]
                .contains(&finding["kind"].as_str().unwrap_or_default())
        })
        .collect();
    assert!(wrong.is_empty(), "{when}: {wrong:#?}");
}

async fn account_goes_through_all(fleets: Vec<KopsFleet>, at_once: Arc<Semaphore>) {
    let _permit = at_once.acquire().await.expect("it is never closed");
    let aws = EmulatedAws::start().await;
    aws.set_clock(e2e::story::next_noon(aws.clock().await))
        .await;
    let mut clusters = Vec::new();
    for fleet in &fleets {
        clusters.push(fleet.seed(&aws).await);
    }
    e2e::story::back_up_once(&aws).await;
    for cluster in &clusters {
        let mounted_by = match cluster.kops.style {
            Style::New { .. } => MountedBy::EtcdManager,
            Style::Old => MountedBy::Protokube,
        };
        aws.start_masters(cluster, mounted_by).await;
    }
    assert_audits_clean(&aws, &clusters, "before").await;
    let mut bed = RestoreBed {
        restore: restore_function(&aws).await,
        aws,
        cluster: clusters[0].clone(),
        others: Vec::new(),
    };
    for (fleet, cluster) in fleets.iter().zip(&clusters) {
        bed.cluster = cluster.clone();
        goes_through_all(&bed, fleet).await;
    }
    assert_audits_clean(&bed.aws, &clusters, "restored").await;
    bed.next_morning().await;
    assert_audits_clean(&bed.aws, &clusters, "the morning after").await;
    for cluster in &clusters {
        bed.cluster = cluster.clone();
        bed.undone(json!({"masters": "replace"})).await;
    }
    bed.assert_never_two_candidates().await;
    assert_audits_clean(&bed.aws, &clusters, "put back").await;
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
