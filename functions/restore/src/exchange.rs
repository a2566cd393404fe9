//! The exchange: some volumes leave the masters' sight, others come into it. It is the one thing that
//! restore and undo both do, and the only one in which a volume that masters use is touched.
//!
//! Its order is what keeps two volumes from ever answering for one member: journals, untag, see the
//! old ones gone twice, tag. Each part is decided by what is there, so that each may be repeated.

use std::collections::BTreeSet;

use etcd_backup_core::Tags;
use etcd_backup_core::ids::{EtcdClusterName, MemberKey, RestoreId, VolumeId};
use etcd_backup_core::restore_tags::{Retirement, tags_to_retire};
use etcd_backup_core::settings::Settings;
use etcd_backup_core::standing::is_live;
use etcd_backup_core::volume::Volume;
use jiff::Timestamp;

/// An exchange, planned or under way.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The restore's id, or its undo's: what the journals are signed with.
    pub id: RestoreId,
    /// Member by member.
    pub members: Vec<MemberExchange>,
}

/// What becomes of one member's volumes.
#[derive(Clone, Debug)]
pub struct MemberExchange {
    /// The member.
    pub key: MemberKey,
    /// The volumes that masters must not find any more.
    pub leaving: Vec<Volume>,
    /// The volumes that they shall find instead, with the tags that make them: one, or none where there
    /// is nothing to go back to.
    pub coming: Vec<(Volume, Tags)>,
}

impl Exchange {
    /// The journals still to be written, each with the tags that then leave the volume.
    pub fn retirements(&self, settings: &Settings, now: Timestamp) -> Vec<(VolumeId, Retirement)> {
        let members = self.members.iter();
        let out =
            members.flat_map(|member| member.leaving.iter().map(move |volume| (member, volume)));
        // What an undo gives up is marked even where it was never tagged, so that it's nobody's any more.
        let is_to_be_marked = |volume| self.id.is_undo() && !self.is_retired(volume);
        let left = out.filter(|(_, volume)| is_live(volume) || is_to_be_marked(volume));
        left.map(|(member, volume)| {
            let retirement = self.retirement(member, volume, settings, now);
            (volume.id.clone(), retirement)
        })
        .collect()
    }

    /// The volumes to be tagged, once those that leave are seen gone.
    pub fn tags(&self) -> Vec<(VolumeId, Tags)> {
        let untagged = self.coming().filter(|(volume, _)| !is_live(volume));
        untagged
            .map(|(volume, tags)| (volume.id.clone(), tags.clone()))
            .collect()
    }

    /// Journals on volumes that are back in service: they say nothing any more.
    pub fn leftovers(&self) -> Vec<(VolumeId, Vec<String>)> {
        let journals = self
            .coming()
            .map(|(volume, _)| (volume.id.clone(), Retirement::keys(&volume.tags)));
        journals.filter(|(_, keys)| !keys.is_empty()).collect()
    }

    /// The volumes that must be gone from the masters' sight before any other is tagged.
    pub fn leaving(&self) -> impl Iterator<Item = &Volume> {
        self.members.iter().flat_map(|member| &member.leaving)
    }

    /// The volumes that masters shall find.
    pub fn coming(&self) -> impl Iterator<Item = &(Volume, Tags)> {
        self.members.iter().flat_map(|member| &member.coming)
    }

    /// The members that have a volume in the end, each with it.
    pub fn wanted(&self) -> impl Iterator<Item = (&MemberKey, &Volume)> {
        self.members
            .iter()
            .filter_map(|member| match &member.coming[..] {
                [(volume, _)] => Some((&member.key, volume)),
                _ => None,
            })
    }

    /// The etcd clusters that it is about.
    pub fn etcd_clusters(&self) -> BTreeSet<EtcdClusterName> {
        let members = self.members.iter();
        members
            .map(|member| member.key.etcd_cluster.clone())
            .collect()
    }

    /// Whether anything of it is done: from here on it is better ended than refused.
    pub fn has_begun(&self) -> bool {
        self.leaving().any(|volume| self.is_retired(volume))
            || (!self.id.is_undo() && self.coming().any(|(volume, _)| is_live(volume)))
    }

    /// Whether any volume still changes sides, one that a restore has yet to make among them.
    pub fn is_pending(&self) -> bool {
        let mut members = self.members.iter();
        let lacks_new = !self.id.is_undo() && members.any(|member| member.coming.is_empty());
        lacks_new
            || self.leaving().any(is_live)
            || self.coming().any(|(volume, _)| !is_live(volume))
    }

    /// Whether masters that run could still have, or find, a volume that leaves. Once the first new
    /// volume is tagged they can't: all masters were gone then, and no old one was left to be found.
    pub fn needs_masters_gone(&self) -> bool {
        let in_use = |volume: &Volume| is_live(volume) || !volume.attachments.is_empty();
        let is_first_tagged = self.coming().any(|(volume, _)| is_live(volume));
        self.is_pending() && (self.leaving().any(in_use) || !is_first_tagged)
    }

    fn is_retired(&self, volume: &Volume) -> bool {
        Retirement::of(&volume.tags).is_some_and(|journal| journal.restore_id == self.id)
    }

    fn retirement(
        &self,
        member: &MemberExchange,
        volume: &Volume,
        settings: &Settings,
        now: Timestamp,
    ) -> Retirement {
        // A journal begun by an earlier invocation is gone on with: what it remembers is no longer
        // on the volume.
        let begun = Retirement::of(&volume.tags).filter(|begun| begun.restore_id == self.id);
        let (at, mut was) = begun.map_or((now, Tags::new()), |begun| (begun.at, begun.was));
        if is_live(volume) {
            was.extend(tags_to_retire(&volume.tags, settings));
        }
        Retirement {
            restore_id: self.id.clone(),
            at,
            replaced_by: member.coming.first().map(|(volume, _)| volume.id.clone()),
            was,
        }
    }
}
