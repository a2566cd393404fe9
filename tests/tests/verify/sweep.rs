//! The sweep over several clusters, one of which can't be read, or can't be written on: that one is reported and
//! keeps no verdict, and the others get theirs.

use e2e::verify_bed::answered;
use e2e::{Cluster, Function, Kops, VerifyBed, etcd_images};
use serde_json::{Value, json};

const ACCESS_KEY: &str = "AKIAVERIFY000EXAMPLE";
const OTHER: &str = "live-2.mycompany.tld";

/// Two clusters of one member each, backed up by the same run.
async fn bed_of_two() -> (VerifyBed, Cluster) {
    let set = etcd_images("quiet-single");
    let bed = VerifyBed::of(&set).await;
    let kops = Kops::new(OTHER).members(&[("a", "eu-west-2a")]);
    let other = kops.etcd_clusters(&["main"]).seed(&bed.aws).await;
    let image = json!({"image": set.images["a"]});
    bed.aws.set_volume(other.volume("main/a"), image).await;
    bed.next_run().await;
    (bed, other)
}

/// Everything is allowed, but for one action on what is of one cluster.
fn all_but(action: &str, cluster: &str) -> Value {
    let of_cluster = json!({"StringEquals": {"aws:ResourceTag/KubernetesCluster": cluster}});
    json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "*", "Resource": "*"},
        {"Effect": "Deny", "Action": action, "Resource": "*", "Condition": of_cluster},
    ]})
}

async fn sweep(verify: &Function) -> Value {
    answered(verify, verify.invoke(json!({})).await)
}

/// The verdict on a cluster's newest snapshot.
async fn verdict(bed: &VerifyBed, cluster: &Cluster) -> Option<String> {
    let snapshots = bed.aws.snapshots_of(cluster.volume("main/a")).await;
    bed.tags(&snapshots[0]).await.remove("etcd-backup/verified")
}

/// An action is denied on each of the two clusters in turn, as which of them comes first changes with the hour.
async fn each_fails_alone(action: &str, is_told: impl Fn(&Value, &str)) {
    let (bed, other) = bed_of_two().await;
    let one = bed.cluster.clone();
    for (failing, sound) in [(&one, &other), (&other, &one)] {
        let bed = VerifyBed {
            aws: bed.aws.fork().await,
            cluster: sound.clone(),
        };
        let denied = [all_but(action, failing.name())];
        bed.aws.enforce(ACCESS_KEY, &denied).await;
        let variables = [("AWS_ACCESS_KEY_ID", ACCESS_KEY)];
        let verify = bed.verify_with(&variables).await;
        let answer = sweep(&verify).await;
        assert_eq!(answer["verified"], json!([sound.name()]), "{answer:#}");
        assert_eq!(answer["left"], json!([failing.name()]), "{answer:#}");
        is_told(&answer, failing.name());
        assert_eq!(verdict(&bed, sound).await.as_deref(), Some("restorable"));
        assert_eq!(verdict(&bed, failing).await, None);
        // Once it is allowed, only what is left is read.
        let allowed = [all_but(action, "nobody.mycompany.tld")];
        bed.aws.enforce(ACCESS_KEY, &allowed).await;
        let answer = sweep(&verify).await;
        assert_eq!(answer["verified"], json!([failing.name()]), "{answer:#}");
        assert_eq!(answer["left"], json!([]));
        assert_eq!(verdict(&bed, failing).await.as_deref(), Some("restorable"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_cannot_be_read_keeps_no_other_from_its_verdict() {
    each_fails_alone("ebs:GetSnapshotBlock", |answer, failing| {
        let points = answer["restore_points"].as_array().unwrap();
        let point = points.iter().find(|point| point["cluster"] == failing);
        let point = point.unwrap_or_else(|| panic!("{answer:#}"));
        assert_eq!(point["verdict"], "unsupported", "{point:#}");
        let of = &point["etcd_clusters"][0];
        assert_eq!(of["tagged"], false);
        let problem = of["members"][0]["problems"][0].as_str().unwrap();
        assert!(problem.contains("ebs:GetSnapshotBlock"), "{problem}");
        assert!(answer["text"].as_str().unwrap().contains(problem));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_cannot_be_written_on_keeps_no_other_from_its_verdict() {
    each_fails_alone("ec2:CreateTags", |answer, failing| {
        let warnings = answer["warnings"].as_array().unwrap();
        assert_eq!(warnings.len(), 1, "{answer:#}");
        let warning = warnings[0].as_str().unwrap();
        let is_named = warning.starts_with(&format!("{failing} could not be verified: "));
        assert!(is_named && warning.contains("ec2:CreateTags"), "{warning}");
        assert!(answer["text"].as_str().unwrap().contains(warning));
    })
    .await;
}
