//! Commands of AWS's CLI, as texts tell people to run them.
//!
//! Invariant: each names its Region. Who pastes one may have another as the default, where it would find
//! nothing, or something else.

use std::fmt::Arguments;

/// `aws ec2 delete-tags --region eu-west-2 --resources …`, of a service with its operation and of what
/// follows.
pub fn command(region: &str, operation: &str, parameters: Arguments) -> String {
    format!("aws {operation} --region {region} {parameters}")
}
