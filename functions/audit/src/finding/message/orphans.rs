//! Snapshots that nobody will delete.

use crate::counted::counted;
use crate::finding::Orphans;

pub(super) fn message(orphans: &Orphans, root_volumes: &Orphans) -> String {
    let of_etcd = (!orphans.is_empty()).then(|| {
        format!(
            "{} will be deleted by nobody, as their volume is gone or no longer targeted, or the policy or the \
             schedule that made them is gone. {}",
            how_many(orphans),
            if orphans.commands.is_empty() {
                "Keep them for now: they are inside retention, or the cluster may have to be restored from them."
            } else {
                "The commands in the evidence delete those that are past retention, but for each etcd \
                 cluster's latest restore points and each member's last snapshot."
            }
        )
    });
    let of_root_volumes = (!root_volumes.is_empty()).then(|| {
        format!(
            "{} of what is tagged as masters' root volumes are will be deleted by nobody{}. {}",
            how_many(root_volumes),
            if orphans.is_empty() { "" } else { " either" },
            if root_volumes.commands.is_empty() {
                "Keep them for now: they are inside retention, or the last of a volume."
            } else {
                "Commands of their own delete those that are past retention, but for each volume's last."
            }
        )
    });
    let sentences: Vec<String> = of_etcd.into_iter().chain(of_root_volumes).collect();
    sentences.join(" ")
}

fn how_many(orphans: &Orphans) -> String {
    format!(
        "{} (of volumes of {} GiB in sum)",
        counted(orphans.count, "snapshot"),
        orphans.size_gib
    )
}
