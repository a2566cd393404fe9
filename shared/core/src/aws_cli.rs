//! Commands of AWS's CLI, as texts tell people to run them.
//!
//! Invariant: each names its Region. Who pastes one may have another as the default, where it would find
//! nothing, or something else.

use std::fmt::Arguments;

use crate::ids::GroupName;
use crate::restore_tags::SUSPENDED_BY;

/// `aws ec2 delete-tags --region eu-west-2 --resources …`, of a service with its operation and of what
/// follows.
pub fn command(region: &str, operation: &str, parameters: Arguments) -> String {
    format!("aws {operation} --region {region} {parameters}")
}

/// Resumes a group's launches that a restore suspended, and takes off it the tag that says so: a later
/// restore would take them for suspended still.
pub fn resume_launches(region: &str, group: &GroupName) -> String {
    let resume = command(
        region,
        "autoscaling resume-processes",
        format_args!("--scaling-processes Launch --auto-scaling-group-name {group}"),
    );
    let delete_tag = command(
        region,
        "autoscaling delete-tags",
        format_args!(
            "--tags ResourceId={group},ResourceType=auto-scaling-group,Key={SUSPENDED_BY}"
        ),
    );
    format!("{resume} && {delete_tag}")
}
