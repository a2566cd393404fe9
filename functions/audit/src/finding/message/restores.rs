//! What a restore left behind.

use etcd_backup_core::ids::{GroupName, InstanceId, RestoreId, VolumeId};
use etcd_backup_core::restore_record::Direction;
use jiff::Timestamp;

use super::join;

/// Launches that are suspended in the name of a restore of which no record says that it goes on.
pub(super) fn suspended(
    restore_id: &RestoreId,
    suspended_groups: &[GroupName],
    resume_commands: &[String],
) -> String {
    format!(
        "Launches of {} are suspended in the name of {restore_id}, of which no unfinished record is left: \
         no master can come back. Invoke restore with {{\"action\":\"list\"}} and the cluster's name: \
         masters_find must have one volume for each member, the one that is to be used. Then resume them: {}.",
        join(suspended_groups),
        resume_commands.join("; ")
    )
}

pub(super) fn unfinished(
    restore_id: &RestoreId,
    direction: Direction,
    began: Timestamp,
    volume_ids: &[VolumeId],
    suspended_groups: &[GroupName],
) -> String {
    let suspended = if suspended_groups.is_empty() {
        String::new()
    } else {
        format!(
            " Launches of {} are suspended meanwhile: no master can come back.",
            join(suspended_groups)
        )
    };
    let untagged = match volume_ids {
        [] => String::new(),
        [only] => format!(": {only} is not tagged for masters to find"),
        several => format!(": {} are not tagged for masters to find", join(several)),
    };
    let what = what(restore_id, direction);
    let way_on = "Ask restore for this cluster's status: its next steps have the event that goes on, and the \
                  one that turns back.";
    format!("{what}, begun {began:.0}, is unfinished{untagged}.{suspended} {way_on}")
}

pub(super) fn masters_on_retired(
    restore_id: &RestoreId,
    direction: Direction,
    instance_ids: &[InstanceId],
    volume_ids: &[VolumeId],
) -> String {
    let what = what(restore_id, direction);
    format!(
        "{what} is done, but {} still run on volumes that it took out of service ({}): what etcd writes now \
         is lost. All of them must stop before any that runs on the right volumes starts, and those that \
         start first matter: invoke restore with {{\"action\":\"status\",\"restore_id\":\"{restore_id}\"}} \
         and the cluster's name, and do its next steps in their order.",
        join(instance_ids),
        join(volume_ids),
    )
}

fn what(restore_id: &RestoreId, direction: Direction) -> String {
    match direction {
        Direction::Restore => format!("Restore {restore_id}"),
        Direction::Undo | Direction::Redo => format!("The {} of {restore_id}", direction.name()),
    }
}
