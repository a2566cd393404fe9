//! The operator's next steps as text. Commands stand on lines of their own, to be pasted.

use etcd_backup_core::aws_cli;
use etcd_backup_core::ids::{GroupName, InstanceId, MemberKey, VolumeId};
use etcd_backup_core::restore_record::{Direction, MastersOption, RestoreRecord};
use etcd_backup_core::restore_tags::RETIRED_BY;

use crate::decide::Context;
use crate::decide::follow_up::NextStep;
use crate::decide::list::{list, spaced};

/// Minutes that the first masters have had their volumes before the others start.
const FIRST_MINUTES: u64 = crate::decide::stage::FIRST_ATTACHED_FOR.as_secs() / 60;
const SUSPEND: &str = "autoscaling suspend-processes";
const RESUME: &str = "autoscaling resume-processes";

/// The steps' texts.
pub fn texts(steps: &[NextStep], record: &RestoreRecord, context: Context) -> Vec<String> {
    let region = context.region;
    let texts = steps.iter().map(|step| match step {
        NextStep::Send { event, masters } => send(event, record.turn().direction, *masters),
        NextStep::GoOn { event, back } => go_on(event, back, record.turn().masters),
        NextStep::BeginAnew { event } => format!(
            "This can go neither on nor back, as volumes and snapshots that either way needs are gone. Restore \
             anew, with what else you want; that gives this one up:\n{event}"
        ),
        NextStep::ResumeByHand(groups) => format!(
            "Only if neither works: resume launches by hand; masters then come back on whatever volumes are \
             tagged for them:\n{}",
            resume_by_hand(region, groups).join("\n")
        ),
        NextStep::StopMasters(instances) => stop(region, instances),
        NextStep::RestoreAgain { event } => format!(
            "What was put in service is gone. Restore once more, and begin with a plan; what this has taken out \
             of service is kept until then:\n{event}"
        ),
        NextStep::StartStopped { first, later } => start_stopped(region, first, later),
        NextStep::TerminateMasters {
            instances,
            groups,
            later,
            first,
        } => terminate(region, instances, groups, later, first),
        NextStep::LetOthersCome { groups, first } => format!(
            "Some masters are on the right volumes{}; don't terminate them. When their volumes have been attached \
             for {FIRST_MINUTES} minutes, let the next ones come:\n{}",
            if first.is_empty() {
                String::new()
            } else {
                format!(" (those of {} start first)", list(first))
            },
            launches(region, RESUME, groups)
        ),
        NextStep::StartMasters {
            first,
            groups,
            later,
        } => start_masters(region, first, groups, later),
        NextStep::WaitUntilReady => "Wait until the new masters are Ready and etcd is ok:\n\
             kubectl get nodes\n\
             kubectl get --raw '/readyz?verbose'"
            .to_owned(),
        // Sources: kops "Etcd backup, restore and encryption"; kubernetes issue 86812; etcd issue 16028.
        NextStep::CheckEndpoints => "The kubernetes endpoints must list only the new masters' addresses. \
             Where a dead one stays, its lease came back with the old data and must be taken out of etcd, as \
             the runbook says:\n\
             kubectl get endpoints kubernetes --namespace default"
            .to_owned(),
        NextStep::ReplaceNodes => format!(
            "Nodes have seen a state of etcd that no longer exists: replace them all, and make anew what \
             was changed in it (tokens, objects):\n\
             kops rolling-update cluster --name {} --cloudonly --force --yes --instance-group-roles Node",
            record.cluster
        ),
        NextStep::WayBack(event) => {
            format!("The way back, as long as the volumes out of service exist:\n{event}")
        }
        NextStep::Delete(volumes) => delete(volumes, context),
    });
    texts.collect()
}

fn send(event: &str, direction: Direction, masters: MastersOption) -> String {
    let does = match masters {
        MastersOption::Leave => "exchanges the tags",
        MastersOption::Replace => {
            "suspends launches, terminates the masters, waits until the volumes that leave are free, exchanges \
             the tags, and resumes launches"
        }
    };
    let makes = match direction {
        Direction::Restore => "makes the new volumes, then ",
        Direction::Undo | Direction::Redo => "",
    };
    format!(
        "Send this event to have just this plan carried out; it is refused (PlanChanged) where the plan would \
         be another one by then. It {makes}{does}. What it takes out of service is kept, untagged:\n{event}"
    )
}

fn go_on(event: &str, back: &str, masters: MastersOption) -> String {
    let dont = match masters {
        MastersOption::Leave => "Don't start or terminate masters, and don't run kops update,",
        MastersOption::Replace => "Don't start masters, and don't run kops update,",
    };
    format!(
        "Send the same event again: it goes on where it stopped, and makes nothing twice. {dont} before the \
         answer says that it is over:\n{event}\nThis turns back instead:\n{back}"
    )
}

fn stop(region: &str, instances: &[InstanceId]) -> String {
    let ids: Vec<&str> = instances.iter().map(InstanceId::as_str).collect();
    let (spaced, joined) = (ids.join(" "), ids.join(","));
    let of_instances = |operation: &str| {
        aws_cli::command(region, operation, format_args!("--instance-ids {spaced}"))
    };
    let retired = aws_cli::command(
        region,
        "ec2 describe-volumes",
        format_args!(
            "--filters Name=attachment.instance-id,Values={joined} Name=tag-key,Values={RETIRED_BY} --query \
             'Volumes[].[VolumeId]' --output text"
        ),
    );
    let detach = aws_cli::command(region, "ec2 detach-volume", format_args!("--volume-id"));
    format!(
        "These masters are in no autoscaling group. Stop all that run, and detach the volumes that are out of \
         service, as a start would keep them attached:\n{}\n{}\n{retired} | xargs -n 1 {detach}",
        of_instances("ec2 stop-instances"),
        of_instances("ec2 wait instance-stopped")
    )
}

fn start_stopped(region: &str, first: &[InstanceId], later: &[InstanceId]) -> String {
    let start = |instances: &[InstanceId]| {
        aws_cli::command(
            region,
            "ec2 start-instances",
            format_args!("--instance-ids {}", spaced(instances)),
        )
    };
    if first.is_empty() || later.is_empty() {
        let all = [first, later].concat();
        return format!(
            "Start those again that were stopped, when the others come back:\n{}",
            start(&all)
        );
    }
    format!(
        "Start those again that were stopped, when the others come back, those of the first members first:\n\
         {}\n\
         and the others when the volumes of these have been attached for {FIRST_MINUTES} minutes:\n{}",
        start(first),
        start(later)
    )
}

fn start_masters(
    region: &str,
    first: &[MemberKey],
    groups: &[GroupName],
    later: &[GroupName],
) -> String {
    let mut text = if first.is_empty() {
        "No master runs: let the autoscaling groups start them.".to_owned()
    } else {
        format!(
            "No master runs: let the autoscaling groups start them, those of {} first, and the others when the \
             volumes of these have been attached for {FIRST_MINUTES} minutes.",
            list(first)
        )
    };
    if !groups.is_empty() {
        text += " Their launches are suspended; this resumes them:\n";
        text += &launches(region, RESUME, groups);
    }
    if !later.is_empty() {
        text += "\nand this those of the others:\n";
        text += &launches(region, RESUME, later);
    }
    text
}

fn launches(region: &str, operation: &str, groups: &[GroupName]) -> String {
    let commands = groups.iter().map(|group| {
        aws_cli::command(
            region,
            operation,
            format_args!("--scaling-processes Launch --auto-scaling-group-name {group}"),
        )
    });
    commands.collect::<Vec<_>>().join("\n")
}

/// No master comes back before all are gone: a restored member must not meet a live, newer peer.
fn terminate(
    region: &str,
    instances: &[InstanceId],
    groups: &[GroupName],
    later: &[GroupName],
    first: &[MemberKey],
) -> String {
    let instances = spaced(instances);
    let of_instances = |operation: &str| {
        aws_cli::command(
            region,
            operation,
            format_args!("--instance-ids {instances}"),
        )
    };
    let (order, rest) = if later.is_empty() {
        (String::new(), String::new())
    } else {
        (
            format!(
                " Those of {} come first: the newest member must be among the first quorum, or it may never \
                 serve.",
                list(first)
            ),
            format!(
                "\nWhen the volumes of the first ones have been attached for {FIRST_MINUTES} minutes, let the \
                 others come:\n{}",
                launches(region, RESUME, later)
            ),
        )
    };
    format!(
        "Terminate all masters at once, never one after the other, and let none come back before all are gone. \
         Their autoscaling groups bring new masters then, which find the right volumes.{order}\n\
         {}\n{}\n{}\n{}{rest}",
        launches(region, SUSPEND, &[groups, later].concat()),
        of_instances("ec2 terminate-instances"),
        of_instances("ec2 wait instance-terminated"),
        launches(region, RESUME, groups),
    )
}

/// Nobody else deletes what is out of service, nor its snapshots: Lifecycle Manager forgets a volume that
/// lost its target tag.
fn delete(volumes: &[VolumeId], context: Context) -> String {
    let (region, runs) = (context.region, context.settings.retain_count);
    let ids: Vec<&str> = volumes.iter().map(VolumeId::as_str).collect();
    let (spaced, joined) = (ids.join(" "), ids.join(","));
    let delete_volume = aws_cli::command(
        region,
        "ec2 delete-volume",
        format_args!("--volume-id $volume"),
    );
    let snapshots = aws_cli::command(
        region,
        "ec2 describe-snapshots",
        format_args!(
            "--owner-ids self --filters Name=volume-id,Values={joined} --query 'Snapshots[].[SnapshotId]' \
             --output text"
        ),
    );
    let delete_snapshot =
        aws_cli::command(region, "ec2 delete-snapshot", format_args!("--snapshot-id"));
    format!(
        "Not now: when all is well, and the volumes in service have a history of their own ({runs} runs), \
         delete those out of service and their snapshots, as nobody else will. It ends the way back, and \
         every older restore point:\n\
         for volume in {spaced}; do {delete_volume}; done\n\
         {snapshots} | xargs -n 1 {delete_snapshot}"
    )
}

/// The commands that resume groups' launches.
pub fn resume_by_hand(region: &str, groups: &[GroupName]) -> Vec<String> {
    let commands = groups
        .iter()
        .map(|group| aws_cli::resume_launches(region, group));
    commands.collect()
}
