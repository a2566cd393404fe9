//! The etcd volumes and snapshots of an account, sorted by cluster and member.
//!
//! A snapshot belongs to a member by its own tags, whichever volume it came from, so that a member's
//! history goes on when a restore replaces its volume. Only where its tags fail, or name a cluster that
//! no volume knows, does the volume tell.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use crate::aws::Filter;
use crate::discovery::{
    CLUSTER, CLUSTER_OWNED, CLUSTER_OWNED_PREFIX, ETCD_PREFIX, EtcdTag, Identity, TagProblem,
    cluster_of, is_discovery_tag,
};
use crate::ids::{ClusterName, EtcdClusterName, MemberKey, MemberName, VolumeId};
use crate::listing::{Listed, Listing};
use crate::provenance::Makers;
use crate::restore_tags::{Origin, PREFIX, Retirement};
use crate::schedule::Schedule;
use crate::settings::Settings;
use crate::snapshot::{DLM_POLICY_ID, Snapshot};
use crate::volume::Volume;

/// What an account holds of etcd.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    /// By name; every cluster of which a volume or a managed snapshot is left.
    pub clusters: BTreeMap<ClusterName, Cluster>,
    /// Volumes with an etcd tag that doesn't tell whose they are, by the cluster they claim.
    pub unidentified_volumes: BTreeMap<Option<ClusterName>, Vec<UnidentifiedVolume>>,
    /// Managed snapshots of which neither tags nor a volume tell whose they are.
    pub unclaimed: Vec<Listed<Snapshot>>,
}

/// Whose a volume is.
enum Owner {
    Member(Identity),
    /// Nobody's that its tags tell: its place in [`Fleet::unidentified_volumes`].
    Unidentified(Option<ClusterName>, usize),
}

/// What is left of one cluster's etcd.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// By etcd cluster and member; also members that other volumes' tags merely name.
    pub members: BTreeMap<MemberKey, Member>,
    /// Volumes that restores made and that are not tagged for discovery yet, oldest first.
    pub unfinished: Vec<(Origin, Volume)>,
}

/// What is left of one member.
#[derive(Clone, Debug, Default)]
pub struct Member {
    /// Volumes that masters would take for this member's; one, if all is well.
    pub volumes: Vec<Volume>,
    /// Volumes that restores took out of service, or undos gave up, with their journals.
    pub retired: Vec<(Retirement, Volume)>,
    /// Managed snapshots, oldest first; copies left out, as their start is not the data's.
    pub snapshots: Vec<MemberSnapshot>,
    /// Whether an existing volume's etcd tag names this member.
    pub is_named: bool,
}

/// A managed snapshot that belongs to a member.
#[derive(Clone, Debug)]
pub struct MemberSnapshot {
    /// The snapshot.
    pub snapshot: Listed<Snapshot>,
    /// The etcd cluster's members when it was taken, by its own etcd tag.
    pub members: Arc<Vec<MemberName>>,
}

/// A volume with an etcd tag that doesn't tell whose it is.
#[derive(Clone, Debug)]
pub struct UnidentifiedVolume {
    /// The volume.
    pub volume: Volume,
    /// What is wrong with its tags.
    pub problem: TagProblem,
    /// Managed snapshots of it whose tags are just as wrong.
    pub snapshots: Vec<Listed<Snapshot>>,
}

/// Whose snapshots with the same tags are, by these.
#[derive(Clone)]
struct ByTags {
    cluster: ClusterName,
    key: MemberKey,
    members: Arc<Vec<MemberName>>,
}

impl From<Identity> for ByTags {
    fn from(identity: Identity) -> Self {
        Self {
            key: identity.member_key(),
            cluster: identity.cluster,
            members: Arc::new(identity.etcd.members),
        }
    }
}

/// Asks for the volumes that a [`Fleet`] is made of, and not for thousands of other people's.
pub fn volume_filters() -> Vec<Filter> {
    let keys = [ETCD_PREFIX, PREFIX].map(|prefix| format!("{prefix}*"));
    vec![Filter::new("tag-key", keys)]
}

/// The filters of the two listings that hold all that is tagged as etcd's of one cluster: masters find
/// their volumes by one or the other of the tags that name the cluster.
pub fn cluster_filters(cluster: &ClusterName) -> [Vec<Filter>; 2] {
    let of_etcd = || Filter::new("tag-key", [format!("{ETCD_PREFIX}*")]);
    let owned = format!("tag:{CLUSTER_OWNED_PREFIX}{cluster}");
    [
        vec![
            Filter::new(format!("tag:{CLUSTER}"), [cluster.as_str()]),
            of_etcd(),
        ],
        vec![Filter::new(owned, [CLUSTER_OWNED]), of_etcd()],
    ]
}

/// Asks for all snapshots that can be managed ones: those of any DLM policy, as the name of a schedule
/// may have been changed, and those that carry what ours adds.
pub fn snapshot_filters(settings: &Settings) -> Vec<Filter> {
    // A managed snapshot has all tags that are added, so that one of them is enough to list it.
    let added = settings.tags_to_add.first().map(|tag| tag.key.clone());
    let keys = [DLM_POLICY_ID.to_owned()].into_iter().chain(added);
    vec![Filter::new("tag-key", keys)]
}

impl Fleet {
    /// Sorts what was listed. Volumes that are being deleted, other people's volumes, and snapshots
    /// that aren't managed are left out.
    pub fn new(volumes: Vec<Volume>, snapshots: Vec<Snapshot>, makers: &Makers) -> Self {
        Self::at(volumes, &snapshots.into(), makers, Timestamp::MAX)
    }

    /// The same as of a moment: snapshots that were started later are left out.
    pub fn at(
        volumes: Vec<Volume>,
        snapshots: &Listing<Snapshot>,
        makers: &Makers,
        now: Timestamp,
    ) -> Self {
        let mut fleet = Self::default();
        let mut owners = BTreeMap::new();
        for volume in volumes.into_iter().filter(Volume::exists) {
            let id = volume.id.clone();
            owners.extend(fleet.add_volume(volume).map(|owner| (id, owner)));
        }
        // Nearly every member has one volume, so that room for three more each would add up.
        let clusters = fleet.clusters.values_mut();
        for member in clusters.flat_map(|cluster| cluster.members.values_mut()) {
            member.volumes.shrink_to_fit();
        }
        let known = fleet.known_clusters();
        // The key is the tags' place in memory, as most snapshots share their tags with others.
        let mut by_tags: HashMap<usize, Option<ByTags>> = HashMap::new();
        for snapshot in snapshots.items() {
            if snapshot.started <= now && makers.manage(&snapshot) {
                let tags = &snapshot.tags;
                let by_tags = by_tags
                    .entry(tags.address())
                    .or_insert_with(|| Some(Identity::of(tags)?.ok()?.into()));
                fleet.add_snapshot(snapshot, by_tags.as_ref(), &owners, &known);
            }
        }
        for cluster in fleet.clusters.values_mut() {
            cluster.drop_leftovers();
            cluster.unfinished.sort_by_key(|(_, volume)| volume.created);
            for member in cluster.members.values_mut() {
                member
                    .snapshots
                    .sort_by_key(|of_member| of_member.snapshot.started);
                member.snapshots.shrink_to_fit();
            }
        }
        fleet
    }

    /// Puts a volume where it belongs, and tells whose it is or was.
    fn add_volume(&mut self, volume: Volume) -> Option<Owner> {
        match Identity::of(&volume.tags) {
            Some(Ok(identity)) => {
                let cluster = self.clusters.entry(identity.cluster.clone()).or_default();
                for name in &identity.etcd.members {
                    let key = MemberKey::new(&identity.etcd.etcd_cluster, name);
                    cluster.members.entry(key).or_default().is_named = true;
                }
                cluster.member(&identity).volumes.push(volume);
                Some(Owner::Member(identity))
            }
            Some(Err(problem)) => {
                let claimed = cluster_of(&volume.tags);
                let of_cluster = self
                    .unidentified_volumes
                    .entry(claimed.clone())
                    .or_default();
                of_cluster.push(UnidentifiedVolume {
                    volume,
                    problem,
                    snapshots: Vec::new(),
                });
                Some(Owner::Unidentified(claimed, of_cluster.len() - 1))
            }
            None => self.add_untagged_volume(volume),
        }
    }

    /// A volume that masters overlook: retired by a restore, or made by one that isn't done.
    fn add_untagged_volume(&mut self, volume: Volume) -> Option<Owner> {
        let is_discovery = |(key, value): (&String, &String)| is_discovery_tag(key, value);
        if let Some(retirement) = Retirement::of(&volume.tags) {
            self.add_retired_volume(retirement, volume)
        } else if volume.tags.iter().any(is_discovery) {
            // All discovery tags come at once: a restored volume that has some was finished, and
            // somebody took its etcd tag off since.
            None
        } else {
            let origin = Origin::of(&volume.tags)?;
            let cluster = self.clusters.entry(origin.cluster.clone()).or_default();
            cluster.unfinished.push((origin, volume));
            None
        }
    }

    /// What it was tells whose it was; one that an undo gave up before it ever was anybody's is the
    /// member's that it was made for.
    fn add_retired_volume(&mut self, retirement: Retirement, volume: Volume) -> Option<Owner> {
        let identity = match Identity::of(&retirement.was) {
            Some(identity) => Some(identity.ok()?),
            None => None,
        };
        let (cluster, key) = match &identity {
            Some(identity) => (identity.cluster.clone(), identity.member_key()),
            None => {
                let origin = Origin::of(&volume.tags)?;
                (origin.cluster, origin.member)
            }
        };
        let cluster = self.clusters.entry(cluster).or_default();
        let member = cluster.members.entry(key).or_default();
        member.retired.push((retirement, volume));
        identity.map(Owner::Member)
    }

    /// The clusters that volumes name.
    fn known_clusters(&self) -> BTreeSet<ClusterName> {
        let claimed = self.unidentified_volumes.keys().flatten();
        self.clusters.keys().chain(claimed).cloned().collect()
    }

    fn add_snapshot(
        &mut self,
        snapshot: Listed<Snapshot>,
        by_tags: Option<&ByTags>,
        owners: &BTreeMap<VolumeId, Owner>,
        known: &BTreeSet<ClusterName>,
    ) {
        let of_volume;
        let owner = match (by_tags, owners.get(&snapshot.volume_id)) {
            (Some(by_tags), None) => by_tags,
            (Some(by_tags), Some(_)) if known.contains(&by_tags.cluster) => by_tags,
            (_, Some(Owner::Member(identity))) => {
                of_volume = ByTags::from(identity.clone());
                &of_volume
            }
            (_, Some(Owner::Unidentified(claimed, index))) => {
                let of_cluster = self.unidentified_volumes.get_mut(claimed);
                if let Some(unidentified) = of_cluster.and_then(|volumes| volumes.get_mut(*index)) {
                    unidentified.snapshots.push(snapshot);
                }
                return;
            }
            (None, None) => {
                self.unclaimed.push(snapshot);
                return;
            }
        };
        // The names are copied only where they are new.
        let cluster = match self.clusters.get_mut(&owner.cluster) {
            Some(known) => known,
            None => self.clusters.entry(owner.cluster.clone()).or_default(),
        };
        let member = match cluster.members.get_mut(&owner.key) {
            Some(known) => known,
            None => cluster.members.entry(owner.key.clone()).or_default(),
        };
        member.snapshots.push(MemberSnapshot {
            snapshot,
            members: Arc::clone(&owner.members),
        });
    }

    /// The unidentified volumes that claim a cluster.
    pub fn unidentified_volumes_of(&self, name: &ClusterName) -> &[UnidentifiedVolume] {
        self.unidentified_volumes
            .get(&Some(name.clone()))
            .map_or(&[], Vec::as_slice)
    }

    /// How many volumes carry an etcd tag, well-formed or not.
    pub fn volume_count(&self) -> usize {
        let identified: usize = self.clusters.values().map(Cluster::volume_count).sum();
        let unidentified: usize = self.unidentified_volumes.values().map(Vec::len).sum();
        identified + unidentified
    }
}

impl Cluster {
    /// A volume beside one that the same restore made for the same member, and tagged, is left over from
    /// a failure: the restore went on without it.
    fn drop_leftovers(&mut self) {
        let Self {
            members,
            unfinished,
        } = self;
        unfinished.retain(|(origin, _)| {
            let live = members
                .get(&origin.member)
                .map_or(&[][..], |member| &member.volumes);
            let restored = live.iter().filter_map(|volume| Origin::of(&volume.tags));
            restored
                .into_iter()
                .all(|other| other.restore_id != origin.restore_id)
        });
    }

    fn member(&mut self, identity: &Identity) -> &mut Member {
        self.members.entry(identity.member_key()).or_default()
    }

    /// Every volume that is or was some member's, or was made to be.
    pub fn all_volumes(&self) -> impl Iterator<Item = (&MemberKey, &Volume)> {
        let of_members = self.members.iter().flat_map(|(key, member)| {
            let retired = member.retired.iter().map(|(_, volume)| volume);
            let all = member.volumes.iter().chain(retired);
            all.map(move |volume| (key, volume))
        });
        let unfinished = self.unfinished.iter();
        of_members.chain(unfinished.map(|(origin, volume)| (&origin.member, volume)))
    }

    /// How many volumes masters would take.
    pub fn volume_count(&self) -> usize {
        self.members
            .values()
            .map(|member| member.volumes.len())
            .sum()
    }

    /// The etcd clusters of which anything is left.
    pub fn etcd_clusters(&self) -> BTreeSet<EtcdClusterName> {
        let names = self.members.keys().map(|key| key.etcd_cluster.clone());
        names.collect()
    }

    /// The etcd clusters that are in use: those that have a volume, or lost theirs within the
    /// [loss window](Schedule::loss_window) before the cluster's newest snapshot. One given up long
    /// ago, of which only orphaned snapshots are left, doesn't keep the others from having restore
    /// points.
    pub fn current_etcd_clusters(&self, schedule: &Schedule) -> BTreeSet<EtcdClusterName> {
        let newest = |member: &Member| member.snapshots.last().map(|last| last.snapshot.started);
        let newest_of_all = self.members.values().filter_map(newest).max();
        let is_recent = |member: &Member| match (newest(member), newest_of_all) {
            (Some(own), Some(of_all)) => of_all.duration_since(own) < schedule.loss_window(),
            _ => false,
        };
        self.members
            .iter()
            .filter(|(_, member)| !member.volumes.is_empty() || is_recent(member))
            .map(|(key, _)| key.etcd_cluster.clone())
            .collect()
    }

    /// The members of one etcd cluster.
    pub fn members_of<'a>(
        &'a self,
        etcd_cluster: &'a EtcdClusterName,
    ) -> impl Iterator<Item = (&'a MemberKey, &'a Member)> {
        self.members
            .iter()
            .filter(move |(key, _)| key.etcd_cluster == *etcd_cluster)
    }
}

impl UnidentifiedVolume {
    /// The member that the volume most likely is, judged by whatever is left: the `Name` that kops
    /// gave it, or the part of its etcd tag before the slash.
    pub fn likely_member(&self) -> Option<MemberKey> {
        self.member_by_name().or_else(|| self.member_by_etcd_tag())
    }

    fn member_by_name(&self) -> Option<MemberKey> {
        let name = self.volume.tags.get(crate::discovery::NAME)?;
        let (member, rest) = name.split_once(".etcd-")?;
        let (etcd_cluster, _) = rest.split_once('.')?;
        Some(MemberKey::new(&etcd_cluster.into(), &member.into()))
    }

    fn member_by_etcd_tag(&self) -> Option<MemberKey> {
        let (key, value) = self
            .volume
            .tags
            .iter()
            .find(|(key, value)| EtcdTag::parse(key, value).is_some())?;
        let member = value.split('/').next().filter(|name| !name.is_empty())?;
        let etcd_cluster = key.strip_prefix(ETCD_PREFIX)?;
        Some(MemberKey::new(&etcd_cluster.into(), &member.into()))
    }
}
