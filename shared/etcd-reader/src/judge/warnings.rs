//! What a person would want to know of a member besides its verdict.

use jiff::SignedDuration;

use super::report::MemberReport;
use crate::ext4::VolumeFacts;
use crate::layout::Layout;
use crate::member::MemberContext;
use crate::mvcc::Contents;

/// A Kubernetes cluster writes leases every few seconds; a quiet etcd cluster is compacted every 5 minutes.
const QUIET_MAX: SignedDuration = SignedDuration::from_hours(1);
/// etcd's own quota where none is set.
const QUOTA_BYTES: u64 = 2 * 1024 * 1024 * 1024;
/// A smaller database in the trashcan is no sign of a loss.
const TRASHCAN_BYTES_MIN: u64 = 8 * 1024 * 1024;

pub(super) fn warn_of_size(contents: &Contents, report: &mut MemberReport) {
    if contents.size_bytes > QUOTA_BYTES / 10 * 8 {
        let percent = contents.size_bytes * 100 / QUOTA_BYTES;
        report.warning(format!("The database file is at {percent} % of etcd's default quota of 2 GiB; at the quota etcd refuses writes. `etcdctl defrag` gives back what isn't in use."));
    }
}

/// A cluster that was seeded empty after a loss keeps the old data in its trashcan.
pub(super) fn warn_of_trashcan(layout: &Layout, contents: &Contents, report: &mut MemberReport) {
    let largest = layout
        .trashcan
        .iter()
        .filter_map(|directory| Some((directory, directory.database.as_ref()?.size_bytes)))
        .max_by_key(|(_, bytes)| *bytes);
    if let Some((directory, bytes)) = largest
        && bytes >= TRASHCAN_BYTES_MIN
        && bytes / 10 > contents.in_use_bytes
    {
        report.warning(format!(
            "{} holds a database of {} MiB, and the current one uses {} MiB: was the cluster begun anew after a loss?",
            directory.path,
            bytes >> 20,
            contents.in_use_bytes >> 20
        ));
    }
}

pub(super) fn warn_of_quiet(context: &MemberContext, report: &mut MemberReport) {
    let (Some(started), Some(written)) = (context.snapshot_started_at, report.written_at) else {
        return;
    };
    let quiet = started.duration_since(written);
    if quiet > QUIET_MAX {
        report.warning(format!(
            "Nothing was written for {} h before the snapshot was taken: was this volume in use?",
            quiet.as_hours()
        ));
    }
}

/// etcd-manager runs `fsck -a` before it mounts a volume, and gives up where that asks for a person.
pub(super) fn warn_of_volume(
    context: &MemberContext,
    volume: &VolumeFacts,
    report: &mut MemberReport,
) {
    if volume.has_errors || volume.error_count > 0 {
        report.warning(format!("The kernel noted errors in the filesystem ({} since its last check): etcd-manager checks it before it mounts it, and stops where the check asks for a person.", volume.error_count));
    }
    if volume.ignored_journal {
        report.warning("The filesystem's journal holds transactions that a mount ignores.");
    }
    let mounted = volume
        .last_mounted
        .rsplit_once("master-")
        .map(|(_, id)| id)
        .filter(|id| id.starts_with("vol-"));
    if let (Some(mounted), Some(id)) = (mounted, &context.volume_id)
        && mounted != id
    {
        report.warning(format!(
            "The filesystem was last mounted as that of {mounted}, and the snapshot is of {id}."
        ));
    }
}
