//! What a refusal tells to take out of the masters' sight.

use std::collections::BTreeSet;

use etcd_backup_core::ids::VolumeId;

/// The volumes that the message of an error names for that; none where it is about something else.
pub(super) fn out_of_sight(error_type: &str, message: &str) -> BTreeSet<VolumeId> {
    match error_type {
        // The command that it gives.
        "MemberDuplicated" | "VolumeTagWrong" => {
            let commands = message.split("delete-tags ").skip(1);
            commands
                .filter_map(|command| volumes_in(command).into_iter().next())
                .collect()
        }
        // `main/a: vol-1 is found in the place of vol-2`, `main/a: too many are found (vol-1, vol-2), vol-2
        // alone should be`, `main/a: none is found, vol-2 should be`.
        "CandidatesWrong" => {
            let members = message
                .split("Before any master")
                .next()
                .unwrap_or_default();
            let found = members.split("; ").flat_map(|member| {
                let mut ids = volumes_in(member);
                let right = (!member.contains("none should be"))
                    .then(|| ids.pop())
                    .flatten();
                ids.retain(|id| Some(id) != right.as_ref());
                ids
            });
            found.collect()
        }
        _ => BTreeSet::new(),
    }
}

fn volumes_in(text: &str) -> Vec<VolumeId> {
    let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '-'));
    let ids = words.filter(|word| word.starts_with("vol-"));
    ids.map(VolumeId::from).collect()
}
