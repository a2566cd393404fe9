//! restore, killed before and after every AWS call that it makes, the table's among them: the same event
//! then comes to the same end as an undisturbed run. The same volumes are in service, none is made twice,
//! none is lost, no launches stay suspended, and in no state on the way do masters find two volumes for
//! one member.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::Arc;

use e2e::candidates::volumes_where;
use e2e::restore_bed::{CLUSTER, event_of, while_masters_start_fast};
use e2e::restores::{forget_lease, groups, restore_function};
use e2e::{Cluster, CrashPoint, EmulatedAws, Function, InvocationOptions, Kops, RestoreBed};
use etcd_backup_core::Tags;
use serde_json::{Value, json};

/// Boundaries tried at the same time, each on a copy of the same AWS: they mostly wait.
const AT_ONCE: u32 = 24;
/// Of the killed invocations' leases, every so-many-th is waited for; the others are taken away.
const LEASES_WAITED_FOR: u32 = 16;
/// How a volume's tags differ between two runs of the same.
const DIFFERING: [&str; 3] = [
    "etcd-backup/retired-at",
    "etcd-backup/replaced-by",
    "etcd-backup/restore-id",
];

/// A volume as it ends, by a name that is the same in every copy: what it is made from, its tags but for
/// the ids and times in them, whether it is attached.
type Ended = BTreeSet<(String, Tags, bool)>;

/// How everything stands at the end.
#[derive(Debug, PartialEq, Eq)]
struct End {
    phase: String,
    volumes: Ended,
    /// By group: whether launches go on, how many tags of ours there are, how many masters.
    groups: BTreeMap<String, (bool, usize, usize)>,
}

async fn end(aws: &EmulatedAws, clusters: &[Cluster], answer: &Value) -> End {
    let seeded: BTreeSet<_> = clusters
        .iter()
        .flat_map(|cluster| cluster.volumes.values())
        .collect();
    let of_etcd = volumes_where(aws, &[("tag-key", "*etcd*")]).await;
    let mut volumes = Ended::new();
    for (id, volume) in e2e::restores::volumes(aws).await {
        if !of_etcd.contains(&id) {
            continue;
        }
        let tags = volume.tags.into_iter().map(|(key, value)| {
            let differs = DIFFERING.contains(&key.as_str()) || key == "etcd-backup/retired-by";
            (key, if differs { String::new() } else { value })
        });
        let name = match volume.snapshot {
            Some(snapshot) if !seeded.contains(&id) => snapshot,
            _ => id.to_string(),
        };
        let is_new = volumes.insert((name, tags.collect(), volume.is_attached));
        assert!(is_new, "{id}: two volumes of the same make");
    }
    let mut ended_groups = BTreeMap::new();
    for cluster in clusters {
        for group in groups(aws, cluster).await {
            let keys = group.tags().iter().filter_map(|tag| tag.key());
            let ours = keys.filter(|key| key.starts_with("etcd-backup/"));
            let goes_on = group.suspended_processes().is_empty();
            let end = (goes_on, ours.count(), group.instances().len());
            ended_groups.insert(
                group.auto_scaling_group_name.clone().unwrap_or_default(),
                end,
            );
        }
    }
    End {
        phase: answer["phase"].as_str().unwrap_or_default().to_owned(),
        volumes,
        groups: ended_groups,
    }
}

/// A scenario: an AWS in which events are about to be sent, one per cluster, all at once.
struct Scenario {
    name: &'static str,
    aws: EmulatedAws,
    clusters: Vec<Cluster>,
    /// The one that is killed.
    event: Value,
    /// Those that go on meanwhile.
    beside: Vec<Value>,
    undisturbed: End,
}

impl Scenario {
    async fn new(name: &'static str, bed: RestoreBed, more: Value) -> Self {
        Self::beside(name, bed, more, Vec::new()).await
    }

    async fn beside(name: &'static str, bed: RestoreBed, more: Value, beside: Vec<Value>) -> Self {
        let copy = bed.fork().await;
        let event = copy.event(more);
        let answer = invoke_beside(&copy.aws, &copy.restore, &event, &beside).await;
        let answer = answer.unwrap_or_else(|error| panic!("{name}: {error}"));
        let RestoreBed {
            aws,
            cluster,
            others,
            ..
        } = bed;
        let clusters: Vec<_> = std::iter::once(cluster).chain(others).collect();
        Self {
            name,
            undisturbed: end(&copy.aws, &clusters, &answer).await,
            aws,
            clusters,
            event,
            beside,
        }
    }

    /// `false` when it was done before it came to the point.
    async fn survives(&self, point: CrashPoint) -> bool {
        let Self { name, event, .. } = self;
        let aws = self.aws.fork().await;
        aws.forget_candidates().await;
        let mut restore = restore_function(&aws).await;
        let crashing = restore.invoke_and_crash(&aws, event.clone(), point);
        if while_masters_start_fast(&aws, crashing).await.is_some() {
            return false;
        }
        restore.restart().await;
        let (CrashPoint::Before(nth) | CrashPoint::After(nth)) = point;
        if nth % LEASES_WAITED_FOR != 0 {
            forget_lease(&aws, event["cluster"].as_str().unwrap_or_default()).await;
        }
        let answer = invoke_beside(&aws, &restore, event, &self.beside).await;
        let answer =
            answer.unwrap_or_else(|error| panic!("{name}, {point:?}: {error}\n{}", restore.logs()));
        let end = end(&aws, &self.clusters, &answer).await;
        assert_eq!(end, self.undisturbed, "{name}, {point:?}");
        let (_, violations) = aws.candidate_violations().await;
        assert!(violations.is_empty(), "{name}, {point:?}: {violations:#?}");
        for resumption in aws.resumptions().await {
            let mut found = resumption.found.iter();
            assert!(
                found.all(|found| found.volumes.len() == 1),
                "{name}, {point:?}: {resumption:#?}"
            );
        }
        true
    }

    /// Tries every boundary, and gives how many there are.
    async fn survives_everywhere(self) -> u32 {
        let this = Arc::new(self);
        let mut boundaries = 0;
        for first in (1_u32..).step_by(AT_ONCE as usize / 2) {
            let calls = first..first + AT_ONCE / 2;
            let points = calls.flat_map(|nth| [CrashPoint::Before(nth), CrashPoint::After(nth)]);
            let tries: Vec<_> = points
                .map(|point| {
                    let this = Arc::clone(&this);
                    tokio::spawn(async move { this.survives(point).await })
                })
                .collect();
            let mut came_to_all = true;
            for task in tries {
                if task.await.unwrap() {
                    boundaries += 1;
                } else {
                    came_to_all = false;
                }
            }
            if !came_to_all {
                break;
            }
        }
        // Past the capture of a test's output: how much was tried is to be seen when all is well.
        let _ = writeln!(
            std::io::stdout(),
            "{}: {boundaries} boundaries tried",
            this.name
        );
        boundaries
    }
}

/// Invokes with an event, and with others at the same time, each in an execution environment of its own.
async fn invoke_beside(
    aws: &EmulatedAws,
    restore: &Function,
    event: &Value,
    beside: &[Value],
) -> Result<Value, e2e::LambdaError> {
    let mut environments = Vec::new();
    for event in beside {
        environments.push((restore_function(aws).await, event.clone()));
    }
    let others: Vec<_> = environments
        .into_iter()
        .map(|(restore, event)| {
            tokio::spawn(async move {
                restore
                    .invoke_with(event, InvocationOptions::default())
                    .await
            })
        })
        .collect();
    let answer = restore.invoke_with(event.clone(), InvocationOptions::default());
    let answer = while_masters_start_fast(aws, async {
        let answer = answer.await;
        for other in others {
            let other = other.await.expect("it ends by itself");
            other.unwrap_or_else(|error| panic!("beside it: {error}"));
        }
        answer
    });
    answer.await
}

fn replace() -> Value {
    json!({"masters": "replace"})
}

fn one_etcd_cluster() -> Kops {
    Kops::new(CLUSTER).etcd_clusters(&["main"])
}

async fn restored(more: Value) -> RestoreBed {
    let bed = RestoreBed::small().await;
    bed.done(more).await;
    bed
}

// The two that take longest have the names by which they start first.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_replacing_restore() {
    let bed = RestoreBed::small().await;
    let scenario = Scenario::new("restore, masters replaced", bed, replace()).await;
    assert!(scenario.survives_everywhere().await >= 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_replacing_undo() {
    let bed = restored(replace()).await;
    let undo = json!({"action": "undo", "masters": "replace"});
    let scenario = Scenario::new("undo, masters replaced", bed, undo).await;
    assert!(scenario.survives_everywhere().await >= 80);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore() {
    let scenario = Scenario::new("restore", RestoreBed::small().await, json!({})).await;
    assert!(scenario.survives_everywhere().await >= 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partial_restore() {
    let one = json!({"members": ["b"], "partial": true});
    let scenario = Scenario::new("partial restore", RestoreBed::small().await, one).await;
    assert!(scenario.survives_everywhere().await >= 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_of_vanished_volumes() {
    let bed = RestoreBed::small().await;
    bed.cluster.lose_volumes(&bed.aws).await;
    let scenario = Scenario::new("restore of vanished volumes", bed, json!({})).await;
    assert!(scenario.survives_everywhere().await >= 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_undo() {
    let bed = restored(json!({})).await;
    let scenario = Scenario::new("undo", bed, json!({"action": "undo"})).await;
    assert!(scenario.survives_everywhere().await >= 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_undo_of_an_unfinished_restore() {
    let bed = RestoreBed::small().await;
    // The old volumes are out of service, and no new one is in it.
    bed.stopped_in_the_middle(json!({})).await;
    let undo = json!({"action": "undo"});
    let scenario = Scenario::new("undo of an unfinished restore", bed, undo).await;
    assert!(scenario.survives_everywhere().await >= 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redo() {
    let bed = restored(json!({})).await;
    bed.undone(json!({})).await;
    let scenario = Scenario::new("redo", bed, json!({"action": "redo"})).await;
    assert!(scenario.survives_everywhere().await >= 50);
}

/// Two clusters at once: killed is the restore of one, and that of the other takes no harm.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_beside_that_of_another_cluster() {
    const OTHER: &str = "live-2.mycompany.tld";
    let one_master = |kops: Kops| kops.members(&[("a", "eu-west-2a")]);
    let aws = EmulatedAws::start().await;
    aws.set_clock(e2e::backed_up::next_noon(aws.clock().await))
        .await;
    let cluster = one_master(one_etcd_cluster()).seed(&aws).await;
    let other = one_master(Kops::new(OTHER).etcd_clusters(&["main"]))
        .seed(&aws)
        .await;
    e2e::backed_up::back_up_once(&aws).await;
    let bed = RestoreBed::new(aws, cluster, vec![other]).await;
    let beside = vec![event_of(OTHER, json!({}))];
    let scenario = Scenario::beside("restore beside another's", bed, json!({}), beside).await;
    assert!(scenario.survives_everywhere().await >= 40);
}

/// The same event twice at once, and the first is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_that_another_invocation_of_it_waits_for() {
    let kops = one_etcd_cluster().members(&[("a", "eu-west-2a")]);
    let bed = RestoreBed::of(kops).await;
    let beside = vec![bed.event(json!({}))];
    let scenario = Scenario::beside("restore, waited for", bed, json!({}), beside).await;
    assert!(scenario.survives_everywhere().await >= 40);
}
