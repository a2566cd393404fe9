//! What mounts etcd volumes on a cluster's masters.
//!
//! etcd-manager looks for volumes when it starts. protokube looks every minute, also on a running master:
//! there, a restored volume is attached at once, beside live, newer peers. kops from 1.9 to 1.11 tags
//! volumes as owned and mounts by protokube, so that the owner's tag on a volume tells nothing.
//!
//! Sources: kops `pkg/model/awsmodel/autoscalinggroup.go` (groups carry the owner's tag from 1.18 on);
//! kops 1.26 release notes (role `control-plane`).

use etcd_backup_core::discovery::{CLUSTER_OWNED_PREFIX, ROLE_CONTROL_PLANE};
use etcd_backup_core::ids::ClusterName;
use etcd_backup_core::restore_record::MountedBy;
use etcd_backup_core::volume::Volume;

use crate::collect::inventory::Inventory;

/// Whether it is known that etcd-manager mounts the cluster's volumes: an event says so, or there are tags
/// that kops sets only since it uses etcd-manager.
pub fn is_by_etcd_manager(
    cluster: &ClusterName,
    mounted_by: Option<MountedBy>,
    inventory: &Inventory,
) -> bool {
    if let Some(mounted_by) = mounted_by {
        return mounted_by == MountedBy::EtcdManager;
    }
    let of_members = inventory.cluster.members.values();
    let mut live = of_members.flat_map(|member| &member.volumes);
    let has_role = |volume: &Volume| volume.tags.contains_key(ROLE_CONTROL_PLANE);
    let owner = format!("{CLUSTER_OWNED_PREFIX}{cluster}");
    let mut groups = inventory.control_plane.groups.iter();
    live.any(has_role) || groups.any(|group| group.tags.contains_key(&owner))
}
