//! What is made for a member: the incoming volume with all its parameters, in the place of the outgoing.

use etcd_backup_core::Tags;
use etcd_backup_core::diagnostic::{Diagnostic, ErrorType};
use etcd_backup_core::discovery::{EtcdTag, Identity};
use etcd_backup_core::fleet::Cluster;
use etcd_backup_core::ids::{MemberKey, MemberName, RestoreId, ZoneName};
use etcd_backup_core::restore_record::{
    IncomingVolume, MemberRecord, OutgoingVolume, SnapshotRecord,
};
use etcd_backup_core::restore_tags::{TAGS_MAX, counts_as_tag, made_by};
use etcd_backup_core::snapshot::Snapshot;
use etcd_backup_core::verdict::{self, Verdict};
use etcd_backup_core::volume::{Performance, Volume};
use sha2::{Digest, Sha256};

use super::choice::Choice;
use super::tags::{self, TagStyle};
use super::{Context, limits};
use crate::event::{Request, VolumeOption};

/// Hexadecimal digits of a member's part of a client token.
const TOKEN_DIGITS: usize = 12;

/// All that the record of a member follows from, beside the member itself.
#[derive(Clone, Copy, Debug)]
pub struct Planner<'a> {
    /// The event.
    pub request: &'a Request,
    /// The cluster's volumes and snapshots.
    pub cluster: &'a Cluster,
    /// The chosen snapshots.
    pub choice: &'a Choice,
    /// Which discovery tags the cluster's volumes have.
    pub style: TagStyle,
    /// The restore.
    pub restore_id: &'a RestoreId,
    /// Settings and time.
    pub context: Context<'a>,
}

impl Planner<'_> {
    /// The record of one member.
    ///
    /// # Errors
    ///
    /// `InvalidEvent` for what EC2 wouldn't make, `TagLimit`.
    pub fn member(
        &self,
        key: &MemberKey,
        snapshot: &Snapshot,
        old: Option<&Volume>,
        zone: ZoneName,
    ) -> Result<MemberRecord, Diagnostic> {
        let wish = self.request.volume.as_ref();
        let performance = performance(wish, old);
        let size_gib = old.map_or(0, |old| old.size_gib).max(snapshot.size_gib);
        limits::check(key, &performance, size_gib, old.map(|old| &old.performance))?;
        let (encrypted, kms_key_id) = encryption(wish, snapshot, old);
        let rate = wish.and_then(|wish| wish.initialization_rate);
        let tags = self.tags(key, snapshot, old);
        self.refuse_too_many(key, snapshot, &tags)?;
        Ok(MemberRecord {
            snapshot: SnapshotRecord {
                id: snapshot.id.clone(),
                started_at: snapshot.started,
                volume_id: snapshot.volume_id.clone(),
                verified: Verdict::of(snapshot),
                revision: verdict::revision(snapshot),
                starts_first: verdict::starts_first(snapshot),
            },
            incoming: IncomingVolume {
                zone,
                size_gib,
                performance,
                encrypted,
                kms_key_id,
                initialization_rate_mib_s: rate
                    .or(self.context.settings.volume_initialization_rate_mibps),
                tags,
                client_token_base: self.client_token_base(key),
                attempt: 0,
                volume_id: None,
                failed: Vec::new(),
            },
            outgoing: old.map(outgoing).into_iter().collect(),
        })
    }

    fn tags(&self, key: &MemberKey, snapshot: &Snapshot, old: Option<&Volume>) -> Tags {
        let identity = Identity {
            cluster: self.request.cluster.clone(),
            etcd: self.etcd_tag(key, snapshot),
        };
        let of_old = old.map(|old| &old.tags);
        let settings = self.context.settings;
        tags::complete(&identity, self.style, &snapshot.tags, of_old, settings)
    }

    /// The etcd tag as kops writes it for the member now: with the list of its own volume, of a peer's, of
    /// the snapshot, of a peer's newest snapshot; else of the members restored.
    fn etcd_tag(&self, key: &MemberKey, snapshot: &Snapshot) -> EtcdTag {
        let list_of = |tags: &Tags| match Identity::of(tags) {
            Some(Ok(identity)) if identity.etcd.etcd_cluster == key.etcd_cluster => {
                Some(identity.etcd.members)
            }
            _ => None,
        };
        let own = self.cluster.members.get(key);
        let own = own.into_iter().flat_map(|member| &member.volumes);
        let peers = || self.cluster.members_of(&key.etcd_cluster);
        let of_peers = peers().flat_map(|(_, peer)| &peer.volumes);
        let of_snapshots = peers().filter_map(|(_, peer)| Some(&*peer.snapshots.last()?.members));
        let by_tags = own
            .chain(of_peers)
            .map(|volume| &volume.tags)
            .chain([&snapshot.tags])
            .filter_map(list_of);
        let mut known = by_tags
            .chain(of_snapshots.cloned())
            .filter(|members| members.contains(&key.member));
        let restored = || -> Vec<MemberName> {
            let keys = self.choice.snapshots.keys();
            keys.filter(|other| other.etcd_cluster == key.etcd_cluster)
                .map(|other| other.member.clone())
                .collect()
        };
        EtcdTag {
            etcd_cluster: key.etcd_cluster.clone(),
            member: key.member.clone(),
            members: known.next().unwrap_or_else(restored),
        }
    }

    fn refuse_too_many(
        &self,
        key: &MemberKey,
        snapshot: &Snapshot,
        tags: &Tags,
    ) -> Result<(), Diagnostic> {
        let own = made_by(self.restore_id, &self.request.cluster, key);
        let keys = tags.keys().filter(|key| counts_as_tag(key));
        let count = keys.count() + own.len();
        if count <= TAGS_MAX {
            return Ok(());
        }
        Err(Diagnostic::new(
            ErrorType::TagLimit,
            format!(
                "the new volume of {key} would have {count} tags of at most {TAGS_MAX}: take {} that nobody \
                 needs off the old volume or off {}",
                count - TAGS_MAX,
                snapshot.id
            ),
        ))
    }

    /// Differs from that of any other restore, so that no volume of an earlier one is ever given again.
    fn client_token_base(&self, key: &MemberKey) -> String {
        let input = format!("{key} {}", self.context.now);
        let mut digits = hex::encode(Sha256::digest(input));
        digits.truncate(TOKEN_DIGITS);
        format!("{}-{digits}", self.restore_id)
    }
}

fn outgoing(volume: &Volume) -> OutgoingVolume {
    OutgoingVolume {
        id: volume.id.clone(),
        zone: volume.zone.clone(),
        size_gib: volume.size_gib,
        volume_type: volume.performance.volume_type.clone(),
        made_from: volume.made_from.clone(),
        created_at: volume.created,
        tags: tags::without_aws(&volume.tags),
    }
}

/// As the old volume has it, else gp3; the event's own wishes first.
fn performance(wish: Option<&VolumeOption>, old: Option<&Volume>) -> Performance {
    let old = old.map(|volume| &volume.performance);
    let old_type = old.map_or("gp3", |old| old.volume_type.as_str());
    let volume_type = wish
        .and_then(|wish| wish.volume_type.as_deref())
        .unwrap_or(old_type);
    // Another type's figures mean nothing to this one.
    let old = old.filter(|old| old.volume_type == volume_type);
    let takes_iops = volume_type != "gp2" && volume_type != "standard";
    let iops = old.and_then(|old| old.iops).filter(|_| takes_iops);
    let throughput = old
        .and_then(|old| old.throughput)
        .filter(|_| volume_type == "gp3");
    Performance {
        volume_type: volume_type.to_owned(),
        iops: wish.and_then(|wish| wish.iops).or(iops),
        throughput: wish.and_then(|wish| wish.throughput).or(throughput),
    }
}

/// Whether the new volume is encrypted, and the key to ask for where EC2 wouldn't take the right one by
/// itself: an encrypted volume is never replaced by one that isn't, nor by one with another key.
fn encryption(
    wish: Option<&VolumeOption>,
    snapshot: &Snapshot,
    old: Option<&Volume>,
) -> (bool, Option<String>) {
    if let Some(key) = wish.and_then(|wish| wish.kms_key_id.clone()) {
        return (true, Some(key));
    }
    match old.filter(|old| old.encrypted) {
        Some(old) if snapshot.encrypted && snapshot.kms_key_id == old.kms_key_id => (true, None),
        Some(old) => (true, old.kms_key_id.as_deref().map(str::to_owned)),
        None => (snapshot.encrypted, None),
    }
}

#[cfg(test)]
mod tests {
    use etcd_backup_core::snapshot::SnapshotState;
    use etcd_backup_core::volume::VolumeState;

    use super::*;

    fn snapshot(key: Option<&str>) -> Snapshot {
        Snapshot {
            id: "snap-0a".into(),
            volume_id: "vol-0o".into(),
            state: SnapshotState::Completed,
            state_message: None,
            started: "2026-11-22T06:03:00Z".parse().unwrap(),
            completed_after_seconds: None,
            size_gib: 20,
            encrypted: key.is_some(),
            kms_key_id: key.map(Into::into),
            archived: false,
            tags: Tags::new(),
        }
    }

    fn volume(volume_type: &str, key: Option<&str>) -> Volume {
        Volume {
            id: "vol-0o".into(),
            state: VolumeState::InUse,
            created: "2026-11-01T00:00:00Z".parse().unwrap(),
            zone: "eu-west-2a".into(),
            size_gib: 20,
            performance: Performance {
                volume_type: volume_type.to_owned(),
                iops: Some(4_500),
                throughput: Some(250),
            },
            encrypted: key.is_some(),
            kms_key_id: key.map(Into::into),
            made_from: None,
            attachments: Vec::new(),
            tags: Tags::new(),
        }
    }

    #[test]
    fn encryption_is_never_lost() {
        let with = |key: &str| VolumeOption {
            kms_key_id: Some(key.to_owned()),
            ..VolumeOption::default()
        };
        let (plain, theirs) = (snapshot(None), snapshot(Some("key/snapshot")));
        let (old, old_plain) = (volume("gp3", Some("key/old")), volume("gp3", None));
        let key = |key: &str| Some(key.to_owned());
        for (wish, snapshot, old, encrypted, asked) in [
            (None, &plain, None, false, None),
            (None, &plain, Some(&old_plain), false, None),
            (None, &plain, Some(&old), true, key("key/old")),
            (None, &theirs, None, true, None),
            (None, &theirs, Some(&old_plain), true, None),
            (None, &theirs, Some(&old), true, key("key/old")),
            (
                Some(with("alias/new")),
                &plain,
                None,
                true,
                key("alias/new"),
            ),
            (
                Some(with("alias/new")),
                &theirs,
                Some(&old),
                true,
                key("alias/new"),
            ),
        ] {
            let wanted = (encrypted, asked);
            assert_eq!(encryption(wish.as_ref(), snapshot, old), wanted, "{wish:?}");
        }
        let same = volume("gp3", Some("key/snapshot"));
        assert_eq!(encryption(None, &theirs, Some(&same)), (true, None));
    }

    #[test]
    fn performance_is_as_the_old_volume_has_it_unless_its_type_changes() {
        let wish = |volume_type: &str| VolumeOption {
            volume_type: Some(volume_type.to_owned()),
            ..VolumeOption::default()
        };
        let told = |wish: Option<VolumeOption>, old: Option<&str>| {
            let old = old.map(|volume_type| volume(volume_type, None));
            let made = performance(wish.as_ref(), old.as_ref());
            (made.volume_type, made.iops, made.throughput)
        };
        let gp3 = || "gp3".to_owned();
        assert_eq!(told(None, None), (gp3(), None, None));
        assert_eq!(told(None, Some("gp3")), (gp3(), Some(4_500), Some(250)));
        assert_eq!(told(None, Some("gp2")), ("gp2".to_owned(), None, None));
        assert_eq!(told(Some(wish("gp3")), Some("gp2")), (gp3(), None, None));
        let iops = VolumeOption {
            iops: Some(6_000),
            ..VolumeOption::default()
        };
        assert_eq!(
            told(Some(iops), Some("gp3")),
            (gp3(), Some(6_000), Some(250))
        );
    }
}
