//! The answers, for programs.

use etcd_backup_core::ids::{ClusterName, EtcdClusterName, SnapshotId};
use etcd_backup_core::schedule::Run;
use etcd_backup_core::snapshot_blocks::BLOCK_BYTES;
use etcd_backup_core::verdict::Verdict;
use etcd_reader::judge::{MemberReport, RevisionRange};
use serde::Serialize;

use super::text;
use crate::decide::assessment::{Assessment, EtcdClusterAssessment, Source};
use crate::decide::sweep::Swept;

/// The answer about snapshots that were judged together.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct Answer {
    /// The cluster; absent where nothing tells.
    pub cluster: Option<ClusterName>,
    /// The run that left the snapshots; absent where they are not all of one.
    pub restore_point: Option<Run>,
    /// The worst of the etcd clusters'.
    pub verdict: Verdict,
    /// By name.
    pub etcd_clusters: Vec<EtcdClusterAnswer>,
    /// The same for a terminal.
    pub text: String,
}

/// One etcd cluster.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct EtcdClusterAnswer {
    /// `main`, `events`, …
    pub etcd_cluster: Option<EtcdClusterName>,
    /// What becomes of it.
    pub verdict: Verdict,
    /// Whether the verdict stands in tags of the snapshots.
    pub tagged: bool,
    /// etcd's id of the cluster.
    pub cluster_id: Option<String>,
    /// etcd's revision after the start.
    pub revision: Option<RevisionRange>,
    /// Members that must start for the cluster to serve.
    pub quorum: Option<usize>,
    /// Members that vote, as the data names them: those whose snapshots weren't read among them.
    pub voting_members: Option<usize>,
    /// Members that must start before the others.
    pub start_first: Vec<String>,
    /// Each member.
    pub members: Vec<MemberAnswer>,
    /// What explains the verdict, beside what the members say.
    pub problems: Vec<String>,
    /// What else a person would want to know.
    pub warnings: Vec<String>,
}

/// One member.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct MemberAnswer {
    /// The snapshot.
    pub snapshot_id: SnapshotId,
    /// What was found.
    #[serde(flatten)]
    pub report: MemberReport,
    /// Blocks of the snapshot that were read.
    pub blocks_read: u64,
    /// The same in bytes.
    pub bytes_read: u64,
}

/// The answer of the sweep.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct SweepAnswer {
    /// The clusters whose latest restore point was verified now.
    pub verified: Vec<ClusterName>,
    /// The clusters of which no verdict could be given.
    pub left: Vec<ClusterName>,
    /// What was found of each.
    pub restore_points: Vec<Answer>,
    /// What failed, of which cluster.
    pub warnings: Vec<String>,
    /// The same for a terminal.
    pub text: String,
}

/// The answer where nothing was to be done.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct NothingAnswer {
    /// Nothing.
    pub verified: Vec<ClusterName>,
    /// Nothing.
    pub left: Vec<ClusterName>,
    /// Why nothing was to be done.
    pub reason: String,
    /// The same for a terminal.
    pub text: String,
}

impl Answer {
    /// The answer about an assessment.
    pub fn new(assessment: Assessment) -> Self {
        let is_alone = assessment.is_alone;
        let mut answer = Self {
            cluster: assessment.cluster,
            restore_point: assessment.run,
            verdict: assessment.verdict,
            etcd_clusters: assessment
                .etcd_clusters
                .into_iter()
                .map(EtcdClusterAnswer::new)
                .collect(),
            text: String::new(),
        };
        answer.text = text::of_point(&answer, is_alone);
        answer
    }
}

impl EtcdClusterAnswer {
    fn new(of: EtcdClusterAssessment) -> Self {
        let members = of.report.members.into_iter().zip(of.sources);
        Self {
            etcd_cluster: of.name,
            verdict: of.verdict,
            tagged: of.is_tagged,
            cluster_id: of.report.cluster_id,
            revision: of.report.revision,
            quorum: of.report.quorum,
            voting_members: of.report.voting_members,
            start_first: of.report.start_first,
            members: members.map(MemberAnswer::new).collect(),
            problems: of.report.problems,
            warnings: of.report.warnings,
        }
    }
}

impl MemberAnswer {
    fn new((report, source): (MemberReport, Source)) -> Self {
        Self {
            snapshot_id: source.snapshot_id,
            report,
            blocks_read: source.traffic.blocks,
            bytes_read: source.traffic.blocks * BLOCK_BYTES as u64,
        }
    }
}

impl SweepAnswer {
    /// The answer about what became of all clusters.
    pub fn new(swept: Swept) -> Self {
        let failures = swept.failures.into_iter();
        let mut answer = Self {
            verified: swept.verified,
            left: swept.left,
            restore_points: swept.assessments.into_iter().map(Answer::new).collect(),
            warnings: failures
                .map(|(name, error)| format!("{name} could not be verified: {}", error.message))
                .collect(),
            text: String::new(),
        };
        answer.text = text::of_sweep(&answer);
        answer
    }
}

impl NothingAnswer {
    /// Why nothing was to be done.
    pub fn new(reason: String) -> Self {
        Self {
            verified: Vec::new(),
            left: Vec::new(),
            text: format!("Nothing was verified: {reason}.\n"),
            reason,
        }
    }
}
