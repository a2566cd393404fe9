//! Clusters as kops makes them, backed up by one policy, as EC2's XML.
//!
//! Every cluster has three masters and the etcd clusters `main` and `events`: six volumes. What one
//! snapshot shares with its volume's others is written once, so that a million snapshots cost little
//! memory and a page costs little more than copying it.

use std::fmt::Write;

use jiff::{SignedDuration, Timestamp};

/// Volumes of a cluster.
const MEMBERS: [(&str, &str); 6] = [
    ("main", "a"),
    ("main", "b"),
    ("main", "c"),
    ("events", "a"),
    ("events", "b"),
    ("events", "c"),
];
const INTERVAL: SignedDuration = SignedDuration::from_hours(24);
/// The id of the policy that takes the snapshots.
pub const POLICY_ID: &str = "policy-0123456789abcdef0";

/// An account: so many volumes, each with so many snapshots.
#[derive(Clone, Debug)]
pub struct Dataset {
    volumes: Vec<Volume>,
    snapshots_each: usize,
    last_run: Timestamp,
}

#[derive(Clone, Debug)]
struct Volume {
    id: String,
    xml: String,
    /// What all of its snapshots' items end with: everything that does not differ.
    snapshot_tail: String,
}

impl Dataset {
    /// An account of `volumes` etcd volumes (rounded up to whole clusters of six).
    ///
    /// # Panics
    ///
    /// Never: the times in it are valid.
    pub fn new(volumes: usize, snapshots_each: usize) -> Self {
        let last_run: Timestamp = "2026-11-22T06:00:00Z".parse().expect("a valid time");
        let clusters = volumes.div_ceil(MEMBERS.len());
        let volumes = (0..clusters).flat_map(|cluster| {
            MEMBERS.iter().enumerate().map(move |(index, member)| {
                volume(cluster, cluster * MEMBERS.len() + index, *member)
            })
        });
        Self {
            volumes: volumes.collect(),
            snapshots_each,
            last_run,
        }
    }

    /// How many volumes there are.
    pub fn volume_count(&self) -> usize {
        self.volumes.len()
    }

    /// How many snapshots there are.
    pub fn snapshot_count(&self) -> usize {
        self.volumes.len() * self.snapshots_each
    }

    /// A moment at which all is well: the last run is due.
    pub fn now(&self) -> Timestamp {
        self.last_run + SignedDuration::from_mins(90)
    }

    /// The id of a volume.
    pub fn volume_id(&self, index: usize) -> &str {
        &self.volumes[index].id
    }

    /// Writes a volume's `item`.
    pub fn write_volume(&self, index: usize, xml: &mut String) {
        xml.push_str(&self.volumes[index].xml);
    }

    /// The id of a snapshot; the same number always gives the same id.
    pub fn snapshot_id(&self, index: usize) -> String {
        format!("snap-{:017x}", scattered(index as u64 ^ 0x5eed_0000_0000))
    }

    /// Writes a snapshot's `item`.
    pub fn write_snapshot(&self, index: usize, xml: &mut String) {
        let (volume, age) = (index / self.snapshots_each, index % self.snapshots_each);
        let run = self.last_run - INTERVAL * i32::try_from(age).unwrap_or(i32::MAX);
        let started = run + SignedDuration::from_secs(180 + (volume % 40) as i64);
        let volume = &self.volumes[volume];
        let _ = write!(
            xml,
            "<item><snapshotId>{}</snapshotId><volumeId>{}</volumeId><status>completed</status>\
             <startTime>{started:.3}</startTime>{}",
            self.snapshot_id(index),
            volume.id,
            volume.snapshot_tail
        );
    }

    /// The snapshots of a volume, by number.
    pub fn snapshots_of(&self, volume: usize) -> std::ops::Range<usize> {
        volume * self.snapshots_each..(volume + 1) * self.snapshots_each
    }
}

fn volume(cluster: usize, number: usize, (etcd_cluster, member): (&str, &str)) -> Volume {
    let cluster = format!("k{cluster:05}.bench.example.com");
    let id = format!("vol-{:017x}", scattered(number as u64));
    let tags = [
        ("KubernetesCluster".to_owned(), cluster.clone()),
        (
            "Name".to_owned(),
            format!("{member}.etcd-{etcd_cluster}.{cluster}"),
        ),
        ("k8s.io/role/master".to_owned(), "1".to_owned()),
        ("k8s.io/role/control-plane".to_owned(), "1".to_owned()),
        (
            format!("k8s.io/etcd/{etcd_cluster}"),
            format!("{member}/a,b,c"),
        ),
        (
            format!("kubernetes.io/cluster/{cluster}"),
            "owned".to_owned(),
        ),
    ];
    let of_dlm = [
        ("SnapshotCreator", "DLM"),
        ("aws:dlm:lifecycle-policy-id", POLICY_ID),
        (
            "aws:dlm:lifecycle-schedule-name",
            "Daily 2 week etcd snapshots",
        ),
        ("dlm:managed", "true"),
    ];
    let mut volume_tags = String::new();
    for (key, value) in &tags {
        push_tag(&mut volume_tags, key, value);
    }
    let mut snapshot_tags = volume_tags.clone();
    for (key, value) in of_dlm {
        push_tag(&mut snapshot_tags, key, value);
    }
    Volume {
        xml: format!(
            "<item><volumeId>{id}</volumeId><size>20</size><snapshotId/>\
             <availabilityZone>eu-west-2{member}</availabilityZone><status>in-use</status>\
             <createTime>2026-01-05T10:00:00.000Z</createTime><attachmentSet><item>\
             <volumeId>{id}</volumeId><instanceId>i-{number:017x}</instanceId><device>/dev/xvdu</device>\
             <status>attached</status><attachTime>2026-01-05T10:01:00.000Z</attachTime>\
             <deleteOnTermination>false</deleteOnTermination></item></attachmentSet>\
             <tagSet>{volume_tags}</tagSet><volumeType>gp3</volumeType><iops>3000</iops>\
             <encrypted>true</encrypted>\
             <kmsKeyId>arn:aws:kms:eu-west-2:123456789012:key/11111111-2222-3333-4444-555555555555</kmsKeyId>\
             <multiAttachEnabled>false</multiAttachEnabled><throughput>125</throughput></item>"
        ),
        snapshot_tail: format!(
            "<progress>100%</progress><ownerId>123456789012</ownerId><volumeSize>20</volumeSize>\
             <description>Created for policy: {POLICY_ID} schedule: Daily 2 week etcd snapshots</description>\
             <tagSet>{snapshot_tags}</tagSet><encrypted>true</encrypted>\
             <kmsKeyId>arn:aws:kms:eu-west-2:123456789012:key/11111111-2222-3333-4444-555555555555</kmsKeyId>\
             <storageTier>standard</storageTier></item>"
        ),
        id,
    }
}

fn push_tag(xml: &mut String, key: &str, value: &str) {
    let _ = write!(xml, "<item><key>{key}</key><value>{value}</value></item>");
}

/// Spreads numbers over 64 bits without collisions (the finalizer of MurmurHash3, which is a
/// bijection), as EC2's ids are spread.
fn scattered(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    mixed ^ (mixed >> 33)
}
