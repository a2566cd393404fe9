//! The verdicts on snapshots that were read: of each etcd cluster, and of all together.

use std::collections::BTreeMap;

use etcd_backup_core::ids::{ClusterName, EtcdClusterName, MemberKey, SnapshotId};
use etcd_backup_core::schedule::Run;
use etcd_backup_core::verdict::Verdict;
use etcd_reader::judge::{self, SetReport, judge_member, judge_set};

use super::choice::Chosen;
use crate::collect::members::ReadMember;
use crate::collect::snapshot_volume::{GaveUp, Traffic};

/// What was found.
#[derive(Clone, Debug)]
pub struct Assessment {
    /// The cluster; `None` where nothing tells.
    pub cluster: Option<ClusterName>,
    /// The run that left the snapshots; `None` where they are not all of one.
    pub run: Option<Run>,
    /// Whether it is about one member by itself.
    pub is_alone: bool,
    /// The worst of its etcd clusters'.
    pub verdict: Verdict,
    /// By name.
    pub etcd_clusters: Vec<EtcdClusterAssessment>,
}

/// What was found of one etcd cluster.
#[derive(Clone, Debug)]
pub struct EtcdClusterAssessment {
    /// Its name; `None` where nothing tells.
    pub name: Option<EtcdClusterName>,
    /// What becomes of it.
    pub verdict: Verdict,
    /// All that is said of it.
    pub report: SetReport,
    /// What was read of each member, in the order of the report's members.
    pub sources: Vec<Source>,
    /// Whether the verdict is one on a restore point: of all members, of one run, and final.
    pub stands: bool,
    /// Whether the verdict was written on all of its snapshots.
    pub is_tagged: bool,
    /// Whether another time more may be told: the time was up, AWS didn't answer, or a permission or a key
    /// was refused.
    pub is_unfinished: bool,
}

/// Where a member's report comes from.
#[derive(Clone, Debug)]
pub struct Source {
    /// The snapshot.
    pub snapshot_id: SnapshotId,
    /// What was read of it.
    pub traffic: Traffic,
}

impl Assessment {
    /// Judges what was read.
    pub fn new(chosen: &Chosen, members: Vec<ReadMember>) -> Self {
        let mut sets: BTreeMap<Option<EtcdClusterName>, Vec<ReadMember>> = BTreeMap::new();
        for member in members {
            let name = member.key.as_ref().map(|key| key.etcd_cluster.clone());
            sets.entry(name).or_default().push(member);
        }
        let etcd_clusters: Vec<_> = sets
            .into_iter()
            .map(|(name, members)| EtcdClusterAssessment::new(chosen, name, members))
            .collect();
        let verdicts = etcd_clusters.iter().map(|of| of.verdict);
        Self {
            cluster: chosen.cluster.clone(),
            run: chosen.run,
            is_alone: chosen.is_alone,
            verdict: verdicts.max().unwrap_or(Verdict::Unsupported),
            etcd_clusters,
        }
    }

    /// Whether anything is left to be told another time.
    pub fn is_unfinished(&self) -> bool {
        self.etcd_clusters.iter().any(|of| of.is_unfinished)
    }

    /// All that was read.
    pub fn traffic(&self) -> Traffic {
        let sources = self.etcd_clusters.iter().flat_map(|of| &of.sources);
        sources.fold(Traffic::default(), |sum, source| Traffic {
            blocks: sum.blocks + source.traffic.blocks,
            pages: sum.pages + source.traffic.pages,
            unused: sum.unused + source.traffic.unused,
        })
    }
}

impl EtcdClusterAssessment {
    fn new(chosen: &Chosen, name: Option<EtcdClusterName>, members: Vec<ReadMember>) -> Self {
        let is_whole = name
            .as_ref()
            .is_some_and(|name| chosen.whole.contains(name));
        let ended_early = members
            .iter()
            .any(|member| member.gave_up == Some(GaveUp::ThisTime));
        let damaged_members = members
            .iter()
            .filter(|read| judge_member(&read.member).verdict == judge::Verdict::Damaged)
            .count();
        let sources = members.iter().map(|member| Source {
            snapshot_id: member.snapshot_id.clone(),
            traffic: member.traffic,
        });
        let sources: Vec<_> = sources.collect();
        let keys: Vec<_> = members.iter().map(|member| member.key.clone()).collect();
        let members: Vec<_> = members.into_iter().map(|member| member.member).collect();
        let mut report = match &members[..] {
            [member] if chosen.is_alone => alone(judge_member(member)),
            members => judge_set(members),
        };
        warn_of_changes(chosen, &keys, &mut report);
        let verdict = verdict(report.verdict);
        // Where so many members are damaged by themselves that no quorum is left, the verdict holds whatever
        // else could be read. Members that merely don't fit together may form a quorum with one that was not
        // read.
        let quorum = sources.len() / 2 + 1;
        let is_settled = verdict == Verdict::Damaged && sources.len() - damaged_members < quorum;
        let is_unfinished = ended_early && !is_settled;
        Self {
            stands: is_whole && !is_unfinished,
            is_tagged: false,
            name,
            verdict,
            report,
            sources,
            is_unfinished,
        }
    }
}

/// A member by itself, in the shape of a set.
fn alone(report: judge::MemberReport) -> SetReport {
    SetReport {
        etcd_cluster: String::new(),
        verdict: report.verdict,
        cluster_id: None,
        revision: None,
        quorum: None,
        voting_members: None,
        start_first: Vec::new(),
        members: vec![report],
        problems: Vec::new(),
        warnings: Vec::new(),
    }
}

fn warn_of_changes(chosen: &Chosen, keys: &[Option<MemberKey>], report: &mut SetReport) {
    let cluster_id = report.cluster_id.clone();
    for (key, member) in keys.iter().zip(&mut report.members) {
        let earlier = key.as_ref().and_then(|key| chosen.earlier.get(key));
        let warnings = earlier.map(|earlier| earlier.warnings(cluster_id.as_deref(), member));
        member.warnings.extend(warnings.unwrap_or_default());
    }
}

/// A reader's verdict in the words of tags.
pub fn verdict(verdict: judge::Verdict) -> Verdict {
    match verdict {
        judge::Verdict::Restorable => Verdict::Restorable,
        judge::Verdict::Degraded => Verdict::Degraded,
        judge::Verdict::Unsupported => Verdict::Unsupported,
        judge::Verdict::Damaged => Verdict::Damaged,
    }
}
