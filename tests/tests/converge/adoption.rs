//! What was made by hand or by other tools becomes ours, and keeps what no setting names.

use std::collections::BTreeSet;

use aws_sdk_dlm::types::{
    ArchiveRetainRule, ArchiveRule, CreateRule, CrossRegionCopyRetainRule, CrossRegionCopyRule,
    FastRestoreRule, Parameters, RetentionArchiveTier, RetentionIntervalUnitValues, ShareRule,
};

use super::*;

#[tokio::test]
async fn what_was_made_by_hand_is_adopted_and_duplicates_are_named() {
    let (aws, converge) = converged().await;
    let ours = policy_ids(&aws).await.remove(0);
    let policy = policy(&aws, &ours).await;
    aws.dlm()
        .delete_lifecycle_policy()
        .policy_id(&ours)
        .send()
        .await
        .unwrap();
    let create = || {
        aws.dlm()
            .create_lifecycle_policy()
            .description("etcd data lifecycle policy")
            .execution_role_arn(policy.execution_role_arn().unwrap())
            .state(SettablePolicyStateValues::Enabled)
            .policy_details(policy.policy_details().unwrap().clone())
    };
    let by_hand = create().send().await.unwrap().policy_id.unwrap();
    let adopted = invoke(&converge, json!({})).await;
    assert_eq!(adopted["policy_id"], by_hand.as_str());
    assert_eq!(changes(&adopted), ["update dlm-policy tags.managed-by"]);

    aws.advance(std::time::Duration::from_secs(60)).await;
    let second = create()
        .tags("managed-by", "etcd-backup")
        .send()
        .await
        .unwrap()
        .policy_id
        .unwrap();
    let answer = invoke(&converge, json!({})).await;
    assert_eq!(
        (&answer["policy_id"], &answer["outcome"]),
        (&json!(by_hand), &json!("unchanged"))
    );
    let warnings = answer["warnings"].to_string();
    assert!(
        warnings.contains(&by_hand) && warnings.contains(&second),
        "{warnings}"
    );
    assert_eq!(policy_ids(&aws).await.len(), 2, "none is deleted");
}

const KEY_ARN: &str = "arn:aws:kms:eu-west-1:123456789012:key/0a1b2c3d";
/// What copies, shares, fast restore and the archive need beyond what is always needed.
const FOR_RULES: [&str; 9] = [
    "ec2:CopySnapshot",
    "ec2:DescribeAvailabilityZones",
    "ec2:DescribeFastSnapshotRestores",
    "ec2:DescribeSnapshotAttribute",
    "ec2:DescribeSnapshotTierStatus",
    "ec2:DisableFastSnapshotRestores",
    "ec2:EnableFastSnapshotRestores",
    "ec2:ModifySnapshotAttribute",
    "ec2:ModifySnapshotTier",
];

/// Everything that no setting names.
fn enrich(details: &mut PolicyDetails) {
    let retain = CrossRegionCopyRetainRule::builder()
        .interval(30)
        .interval_unit(RetentionIntervalUnitValues::Days);
    let copy = CrossRegionCopyRule::builder()
        .target("eu-west-1")
        .encrypted(true)
        .cmk_arn(KEY_ARN)
        .copy_tags(true)
        .retain_rule(retain.build());
    let share = ShareRule::builder().target_accounts("999999999999");
    let fast_restore = FastRestoreRule::builder()
        .count(1)
        .availability_zones("eu-west-2a");
    let tier = RetentionArchiveTier::builder().count(3).build();
    let archive = ArchiveRetainRule::builder().retention_archive_tier(tier);
    let rich = schedule(details);
    rich.cross_region_copy_rules = Some(vec![copy.build()]);
    rich.share_rules = Some(vec![share.build()]);
    rich.fast_restore_rule = Some(fast_restore.build());
    rich.archive_rule = Some(ArchiveRule::builder().retain_rule(archive.build()).build());
    let mut weekly = rich.clone();
    weekly.name = Some("Weekly".into());
    weekly.create_rule = Some(
        CreateRule::builder()
            .cron_expression("cron(0 6 ? * SUN *)")
            .build(),
    );
    weekly.copy_tags = Some(false);
    details.schedules.as_mut().unwrap().insert(0, weekly);
    let parameters = Parameters::builder().exclude_boot_volume(true);
    let parameters = parameters.set_exclude_data_volume_tags(Some(vec![tag("a", "b")]));
    details.parameters = Some(parameters.build());
}

/// The actions that the role's policy allows on everything.
async fn allowed(aws: &EmulatedAws) -> BTreeSet<String> {
    let policy = aws.iam().get_policy().policy_arn(POLICY_ARN).send().await;
    let version = policy.unwrap().policy.unwrap().default_version_id.unwrap();
    let version = aws
        .iam()
        .get_policy_version()
        .policy_arn(POLICY_ARN)
        .version_id(version);
    let document = version
        .send()
        .await
        .unwrap()
        .policy_version
        .unwrap()
        .document;
    let document = percent_decoded(&document.unwrap());
    let actions = document["Statement"][0]["Action"]
        .as_array()
        .unwrap()
        .iter();
    actions
        .map(|action| action.as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn what_no_setting_names_is_no_drift_and_its_permissions_are_given() {
    let (aws, converge) = converged().await;
    let id = policy_ids(&aws).await.remove(0);
    let before = allowed(&aws).await;
    edit(&aws, &id, enrich).await;
    let rich = policy(&aws, &id).await;
    let plan = invoke(&converge, json!({"action": "plan"})).await;
    assert_eq!(changes(&plan), ["update iam-policy document"]);
    let warnings = plan["warnings"].to_string();
    for kept in [
        "Weekly",
        "eu-west-1",
        "999999999999",
        "eu-west-2a",
        "archive",
        "boot volumes",
        KEY_ARN,
    ] {
        assert!(warnings.contains(kept), "{kept}: {warnings}");
    }
    invoke(&converge, json!({})).await;
    let added: BTreeSet<_> = allowed(&aws).await.difference(&before).cloned().collect();
    assert_eq!(added, FOR_RULES.map(str::to_owned).into());
    assert_eq!(policy(&aws, &id).await, rich, "the policy was not touched");
    let again = invoke(&converge, json!({})).await;
    assert_eq!(again["outcome"], "unchanged", "{}", again["text"]);
    assert_eq!(again["warnings"], plan["warnings"]);
}

#[tokio::test]
async fn an_update_of_what_is_ours_writes_all_the_rest_again() {
    let (aws, converge) = converged().await;
    let id = policy_ids(&aws).await.remove(0);
    edit(&aws, &id, enrich).await;
    let rich = policy(&aws, &id).await.policy_details.unwrap();
    edit(&aws, &id, |details| {
        details.target_tags = Some(vec![tag("a", "b")]);
        let own = &mut details.schedules.as_mut().unwrap()[1];
        own.name = Some("By hand".into());
        own.copy_tags = Some(false);
        own.tags_to_add = None;
        own.retain_rule = Some(RetainRule::builder().count(3).build());
    })
    .await;
    let applied = invoke(&converge, json!({})).await;
    assert_eq!(
        changes(&applied),
        [
            "update iam-policy document",
            "update dlm-policy target_tags schedule.name schedule.copy_tags schedule.tags_to_add \
             schedule.retain_rule.count",
        ]
    );
    assert_eq!(policy(&aws, &id).await.policy_details.unwrap(), rich);
}

#[tokio::test]
async fn a_schedule_of_the_same_runs_may_stand_as_a_cron_expression() {
    let (aws, converge) = converged().await;
    let id = policy_ids(&aws).await.remove(0);
    let since = policy(&aws, &id).await.tags.unwrap();
    edit(&aws, &id, |details| {
        let rule = CreateRule::builder().cron_expression("cron(0 6 * * ? *)");
        schedule(details).create_rule = Some(rule.build());
        schedule(details).copy_tags = Some(false);
    })
    .await;
    let applied = invoke(&converge, json!({})).await;
    assert_eq!(changes(&applied), ["update dlm-policy schedule.copy_tags"]);
    let after = policy(&aws, &id).await;
    let details = after.policy_details.unwrap();
    let rule = details.schedules()[0].create_rule().unwrap();
    assert_eq!(rule.cron_expression(), Some("cron(0 6 * * ? *)"));
    assert_eq!(after.tags.unwrap(), since, "the runs are as they were");
}
