//! Which schedule of an adopted policy is ours, and what becomes of the rest.

use super::super::definition::{CopyRule, Parameters, Rules, ShareRule};
use super::*;

fn desired() -> DesiredPolicy {
    DesiredPolicy {
        description: "etcd".to_owned(),
        execution_role_arn: "arn:aws:iam::123456789012:role/dlm".to_owned(),
        target_tags: BTreeSet::from([tag("k8s.io/role/master", "1")]),
        schedule_name: "Daily".to_owned(),
        schedule: Schedule {
            interval_hours: 24,
            start_time: "06:00".parse().unwrap(),
        },
        retain_count: 14,
        tags_to_add: BTreeSet::new(),
    }
}

fn tag(key: &str, value: &str) -> Tag {
    Tag {
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

fn every(interval_hours: i32, time: &str) -> PolicySchedule {
    PolicySchedule {
        name: format!("every {interval_hours} at {time}"),
        create: CreateRule {
            interval_hours: Some(interval_hours),
            times: vec![time.to_owned()],
            ..CreateRule::default()
        },
        ..PolicySchedule::default()
    }
}

fn cron(expression: &str) -> PolicySchedule {
    PolicySchedule {
        name: expression.to_owned(),
        create: CreateRule {
            cron_expression: Some(expression.to_owned()),
            ..CreateRule::default()
        },
        ..PolicySchedule::default()
    }
}

#[test]
fn our_schedule_is_the_named_one_else_the_only_one_else_the_one_at_our_time() {
    let named = |schedule: PolicySchedule| PolicySchedule {
        name: "Daily".to_owned(),
        ..schedule
    };
    for (expected, schedules) in [
        (None, vec![]),
        (Some(0), vec![every(1, "23:00")]),
        (Some(1), vec![every(24, "06:00"), named(every(1, "23:00"))]),
        (Some(1), vec![every(12, "07:00"), every(24, "06:00")]),
        (Some(1), vec![every(12, "06:00"), every(24, "06:00")]),
        (Some(1), vec![every(12, "06:00"), cron("cron(0 6 * * ? *)")]),
        (
            Some(1),
            vec![cron("cron(0 6 ? * SUN *)"), every(12, "06:00")],
        ),
        // Which of the two it were, nobody can tell.
        (None, vec![every(12, "06:00"), every(1, "06:00")]),
        (None, vec![cron("cron(0 6 ? * SUN *)"), every(24, "07:00")]),
    ] {
        let names: Vec<_> = schedules.iter().map(|one| one.name.clone()).collect();
        assert_eq!(desired().own_schedule(&schedules), expected, "{names:?}");
    }
}

#[test]
fn what_the_settings_do_not_say_stays_as_it_is() {
    let rules = Rules {
        copies: vec![CopyRule {
            target: Some("eu-west-1".to_owned()),
            ..CopyRule::default()
        }],
        shares: vec![ShareRule {
            accounts: vec!["999999999999".to_owned()],
            unshare_after: None,
        }],
        archive: Some(Extent::count(3)),
        ..Rules::default()
    };
    let weekly = PolicySchedule {
        retain: Extent::count(52),
        rules: rules.clone(),
        ..cron("cron(0 6 ? * SUN *)")
    };
    let actual = PolicyDefinition {
        execution_role_arn: "arn:aws:iam::123456789012:role/other".to_owned(),
        target_tags: BTreeSet::from([tag("a", "b")]),
        schedules: vec![
            weekly.clone(),
            PolicySchedule {
                retain: Extent::count(3),
                rules: rules.clone(),
                ..cron("cron(0 6 ? * * *)")
            },
        ],
        parameters: Some(Parameters {
            exclude_boot_volume: Some(true),
            ..Parameters::default()
        }),
        extend_deletion: Some(true),
        ..PolicyDefinition::default()
    };
    let within = desired().within(&actual);
    let [kept, own] = &within.schedules[..] else {
        panic!("{:?}", within.schedules)
    };
    assert_eq!(kept, &weekly);
    assert_eq!(own.name, "Daily");
    assert_eq!(own.retain, Extent::count(14));
    assert_eq!(own.rules, rules);
    assert_eq!(
        own.create.cron_expression.as_deref(),
        Some("cron(0 6 ? * * *)"),
        "an expression of the same runs stays one"
    );
    assert_eq!(within.parameters, actual.parameters);
    assert_eq!(within.extend_deletion, Some(true));
    assert_eq!(within.target_tags, desired().target_tags);
    assert_eq!(within.execution_role_arn, desired().execution_role_arn);
    assert_eq!(desired().within(&within), within, "once is enough");
}

#[test]
fn an_expression_of_other_runs_becomes_an_interval_and_ours_is_added_where_none_is() {
    let with = |schedules: Vec<PolicySchedule>| PolicyDefinition {
        schedules,
        ..PolicyDefinition::default()
    };
    let own = desired().definition().schedules.remove(0);
    let within = desired().within(&with(vec![cron("cron(0 7 * * ? *)")]));
    assert_eq!(within.schedules, std::slice::from_ref(&own));

    let strangers = vec![every(1, "23:00"), every(12, "11:00")];
    let within = desired().within(&with(strangers.clone()));
    assert_eq!(within.schedules[..2], strangers);
    assert_eq!(within.schedules[2..], [own]);
}
