//! What the values of the settings may be, and what they mean.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::{AlertFormat, ExpectClusters, PermissionsBoundary, Severity, Tag, VerifyMode};
use crate::discovery;
use crate::ids::ClusterName;
use crate::restore_tags;

/// What EC2 takes as the rate at which a volume is filled from its snapshot, in MiB/s.
///
/// Source: Amazon EBS user guide, "Use an Amazon EBS Provisioned Rate for Volume Initialization".
pub const INITIALIZATION_RATES_MIBPS: RangeInclusive<i32> = 100..=300;

pub(super) fn is_iam_name(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+=,.@_-".contains(&b))
}

/// DLM's pattern for descriptions and schedule names.
pub(super) fn is_dlm_text(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b" _-".contains(&b))
}

/// Digits alone: `+7`, ` 7` and `7.0` are typing errors more likely than numbers.
pub(super) fn whole_number(text: &str) -> Option<i32> {
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())?
}

pub(super) fn tag_list(text: &str) -> Option<Vec<Tag>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let tags = text
        .split(',')
        .map(|pair| {
            let (key, value) = pair.split_once('=')?;
            let (key, value) = (key.trim(), value.trim());
            let fits = (1..=128).contains(&key.chars().count())
                && value.chars().count() <= 256
                && !key.to_ascii_lowercase().starts_with("aws:");
            fits.then(|| Tag {
                key: key.to_owned(),
                value: value.to_owned(),
            })
        })
        .collect::<Option<Vec<_>>>()?;
    let different: BTreeSet<_> = tags.iter().collect();
    (different.len() == tags.len()).then_some(tags)
}

/// The tags that DLM puts on each snapshot beside those of its volume. None may have a key that
/// somebody reads: beside the volume's own value, or in its place, such a tag would make the snapshot
/// of one member look like another's, or keep a restored volume from being found or backed up.
pub(super) fn tags_to_add(text: &str, target_tags: &[Tag]) -> Option<Vec<Tag>> {
    let tags = tag_list(text)?;
    let keys: BTreeSet<_> = tags.iter().map(|tag| tag.key.as_str()).collect();
    let is_target_key = |key: &str| target_tags.iter().any(|tag| tag.key == key);
    let fits = tags.len() <= 45
        && keys.len() == tags.len()
        && !keys.iter().any(|key| is_read(key) || is_target_key(key));
    fits.then_some(tags)
}

/// Whether masters, kops, DLM or this project read tags with this key.
fn is_read(key: &str) -> bool {
    const PREFIXES: [&str; 4] = ["k8s.io/", "kubernetes.io/", restore_tags::PREFIX, "dlm:"];
    [discovery::NAME, discovery::CLUSTER].contains(&key)
        || PREFIXES.iter().any(|prefix| key.starts_with(prefix))
}

pub(super) fn alert_topic(text: &str) -> Option<Option<String>> {
    match text.split(':').collect::<Vec<_>>()[..] {
        [""] => Some(None),
        ["arn", partition, "sns", region, account, topic]
            if [partition, region, account, topic]
                .iter()
                .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_graphic())) =>
        {
            Some(Some(text.to_owned()))
        }
        _ => None,
    }
}

pub(super) fn severity(text: &str) -> Option<Severity> {
    [Severity::Critical, Severity::Warning, Severity::Info]
        .into_iter()
        .find(|severity| severity.name() == text)
}

pub(super) fn expect_clusters(text: &str) -> Option<ExpectClusters> {
    match text.trim() {
        "" => Some(ExpectClusters::Any),
        "none" => Some(ExpectClusters::None),
        names => names
            .split(',')
            .map(|name| {
                let name = name.trim();
                let fits = !name.is_empty()
                    && name != "none"
                    && name
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b));
                fits.then(|| ClusterName::from(name))
            })
            .collect::<Option<_>>()
            .map(ExpectClusters::Named),
    }
}

pub(super) fn alert_format(text: &str) -> Option<AlertFormat> {
    match text {
        "text" => Some(AlertFormat::Text),
        "chat" => Some(AlertFormat::Chat),
        _ => None,
    }
}

/// A name of a dashboard or function.
///
/// Source: CloudWatch API reference, `PutDashboard`; Lambda API reference, `CreateFunction`.
pub(super) fn resource_name(text: &str, length_max: usize) -> Option<Option<String>> {
    let fits = text.len() <= length_max
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    fits.then(|| (!text.is_empty()).then(|| text.to_owned()))
}

/// It stands in chat messages, so it may hold nothing that they would take for a mention.
pub(super) fn documentation_url(text: &str) -> Option<Option<String>> {
    let is_taken = |b: u8| b.is_ascii_alphanumeric() || b"._~:/?&=%@+-".contains(&b);
    let fits = text.starts_with("https://") && text.len() <= 200 && text.bytes().all(is_taken);
    match text {
        "" => Some(None),
        url => fits.then(|| Some(url.trim_end_matches('/').to_owned())),
    }
}

pub(super) fn verify_mode(text: &str) -> Option<Option<VerifyMode>> {
    match text {
        "" => Some(None),
        "daily" => Some(Some(VerifyMode::Daily)),
        "all" => Some(Some(VerifyMode::All)),
        "off" => Some(Some(VerifyMode::Off)),
        _ => None,
    }
}

/// Source: DynamoDB developer guide, "Supported data types and naming rules".
pub(super) fn table_name(text: &str) -> Option<Option<String>> {
    let fits = (3..=255).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    match text {
        "" => Some(None),
        name => fits.then(|| Some(name.to_owned())),
    }
}

pub(super) fn initialization_rate_mibps(text: &str) -> Option<Option<i32>> {
    match text {
        "" => Some(None),
        rate => whole_number(rate)
            .filter(|rate| INITIALIZATION_RATES_MIBPS.contains(rate))
            .map(Some),
    }
}

pub(super) fn permissions_boundary(text: &str) -> Option<Option<PermissionsBoundary>> {
    if text.is_empty() {
        return Some(None);
    }
    if !text.starts_with("arn:") {
        let name = text.strip_prefix('/').unwrap_or(text);
        return is_policy_path(name).then(|| Some(PermissionsBoundary::Name(name.to_owned())));
    }
    let is_partition = |text: &str| {
        text.starts_with("aws") && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
    };
    let is_account =
        |text: &str| text == "aws" || text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit());
    match text.split(':').collect::<Vec<_>>()[..] {
        ["arn", partition, "iam", "", account, resource]
            if is_partition(partition) && is_account(account) =>
        {
            let path = resource.strip_prefix("policy/")?;
            is_policy_path(path).then(|| Some(PermissionsBoundary::Arn(text.to_owned())))
        }
        _ => None,
    }
}

/// A policy's path, without its leading `/`, and its name.
///
/// Source: IAM API reference, `CreatePolicy`: the path has up to 512 characters, the name up to 128.
fn is_policy_path(text: &str) -> bool {
    let (path, name) = text.rsplit_once('/').unwrap_or(("", text));
    let is_path = |b: u8| b.is_ascii_graphic() && !b"*?:$".contains(&b);
    path.len() <= 510
        && (path.is_empty() || path.split('/').all(|part| !part.is_empty()))
        && path.bytes().all(is_path)
        && is_iam_name(name, 128)
}
