//! Which values every variable accepts, and with which error others are refused.

use super::*;

fn with(variable: &str, value: &str) -> Result<Settings, SettingError> {
    Settings::from_variables(&|name| (name == variable).then(|| value.to_owned()))
}

#[test]
fn without_variables_the_defaults_hold() {
    insta::assert_debug_snapshot!(Settings::from_variables(&|_| None).unwrap(), @r#"
    Settings {
        role_name: "dlm-lifecycle-role",
        role_policy_name: "dlm-policy",
        policy_description: "etcd data lifecycle policy",
        schedule_name: "Daily 2 week etcd snapshots",
        schedule: Schedule {
            interval_hours: 24,
            start_time: StartTime {
                hour: 6,
                minute: 0,
            },
        },
        retain_count: 14,
        target_tags: [
            Tag {
                key: "k8s.io/role/master",
                value: "1",
            },
        ],
        tags_to_add: [
            Tag {
                key: "SnapshotCreator",
                value: "DLM",
            },
        ],
        alert_topic_arn: None,
        alert_min_severity: Warning,
        alert_format: Text,
        dashboard_name: None,
        restore_function: None,
        documentation_url: None,
        restores_table: None,
        permissions_boundary: None,
        volume_initialization_rate_mibps: None,
        expect_clusters: Any,
        verify: None,
    }
    "#);
}

#[test]
fn bad_values_name_variable_value_and_what_is_accepted() {
    for (variable, value) in [
        ("ROLE_NAME", ""),
        ("ROLE_NAME", "a role"),
        ("ROLE_POLICY_NAME", "a/b"),
        ("POLICY_DESCRIPTION", "etcd: daily"),
        ("SCHEDULE_NAME", "Täglich"),
        ("INTERVAL_HOURS", "5"),
        ("INTERVAL_HOURS", "+6"),
        ("START_TIME", "6:00"),
        ("RETAIN_COUNT", "0"),
        ("RETAIN_COUNT", "1001"),
        ("DASHBOARD_NAME", "etcd backup"),
        (
            "RESTORE_FUNCTION",
            "arn:aws:lambda:eu-west-2:123456789012:function:restore",
        ),
        ("DOCUMENTATION_URL", "http://example.org"),
        ("DOCUMENTATION_URL", "https://example.org/<!here>"),
        ("RETAIN_COUNT", "99999999999999999999"),
        ("TARGET_TAGS", ""),
        ("TARGET_TAGS", "k8s.io/role/master"),
        ("TARGET_TAGS", "aws:x=1"),
        ("TARGET_TAGS", "a=1,a=1"),
        ("TAGS_TO_ADD", "a=1,a=2"),
        ("ALERT_TOPIC_ARN", "my-topic"),
        (
            "ALERT_TOPIC_ARN",
            "arn:aws:sns:eu-west-2:123456789012:alerts ",
        ),
        ("ALERT_MIN_SEVERITY", "Critical"),
        ("ALERT_FORMAT", ""),
        ("ALERT_FORMAT", "Chat"),
        ("RESTORES_TABLE", "ab"),
        ("RESTORES_TABLE", "restores/1"),
        (
            "RESTORES_TABLE",
            "arn:aws:dynamodb:eu-west-2:123456789012:table/restores",
        ),
        ("PERMISSIONS_BOUNDARY", "a boundary"),
        ("PERMISSIONS_BOUNDARY", "team//boundary"),
        ("PERMISSIONS_BOUNDARY", "team/"),
        ("PERMISSIONS_BOUNDARY", "te*m/boundary"),
        (
            "PERMISSIONS_BOUNDARY",
            "arn:aws:iam::123456789012:role/boundary",
        ),
        ("PERMISSIONS_BOUNDARY", "arn:aws:iam::1234:policy/boundary"),
        ("PERMISSIONS_BOUNDARY", "arn:aws:iam::123456789012:policy/"),
        ("VOLUME_INITIALIZATION_RATE", "99"),
        ("VOLUME_INITIALIZATION_RATE", "301"),
        ("VOLUME_INITIALIZATION_RATE", "200 MiB/s"),
        ("EXPECT_CLUSTERS", "a,,b"),
        ("EXPECT_CLUSTERS", "a,none"),
    ] {
        let error = with(variable, value).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("{variable}=\"{value}\": expected ")),
            "{error}"
        );
        assert!(!error.contains('\n'), "{error}");
    }
    insta::assert_snapshot!(
        with("RETAIN_COUNT", "a\nb").unwrap_err(),
        @r#"RETAIN_COUNT="a\nb": expected a whole number from 1 to 1000"#
    );
}

#[test]
fn a_control_character_is_refused_wherever_it_stands() {
    for (variable, value) in [
        ("ROLE_NAME", "dlm-lifecycle-role"),
        ("ROLE_POLICY_NAME", "dlm-policy"),
        ("POLICY_DESCRIPTION", "etcd data lifecycle policy"),
        ("SCHEDULE_NAME", "Daily"),
        ("INTERVAL_HOURS", "24"),
        ("START_TIME", "06:00"),
        ("RETAIN_COUNT", "14"),
        ("TARGET_TAGS", "k8s.io/role/master=1"),
        ("TAGS_TO_ADD", "SnapshotCreator=DLM"),
        (
            "ALERT_TOPIC_ARN",
            "arn:aws:sns:eu-west-2:123456789012:alerts",
        ),
        ("ALERT_MIN_SEVERITY", "warning"),
        ("ALERT_FORMAT", "chat"),
        ("DASHBOARD_NAME", "etcd-backup"),
        ("RESTORE_FUNCTION", "restore"),
        ("DOCUMENTATION_URL", "https://example.org"),
        ("RESTORES_TABLE", "restores"),
        ("PERMISSIONS_BOUNDARY", "boundary"),
        ("VOLUME_INITIALIZATION_RATE", "200"),
        ("EXPECT_CLUSTERS", "k8s.mycompany.tld"),
        ("VERIFY", "daily"),
    ] {
        assert!(with(variable, value).is_ok(), "{variable}");
        for control in ['\n', '\r', '\t', '\0', '\u{7f}', '\u{85}'] {
            for wrong in [format!("{value}{control}"), format!("{control}{value}")] {
                assert!(with(variable, &wrong).is_err(), "{variable} {wrong:?}");
            }
        }
    }
}

#[test]
fn lists_are_split_at_commas_and_values_keep_their_equals_signs() {
    let settings = with(
        "TARGET_TAGS",
        "k8s.io/role/master=1, k8s.io/role/control-plane=a=b",
    )
    .unwrap();
    assert_eq!(settings.target_tags[1].key, "k8s.io/role/control-plane");
    assert_eq!(settings.target_tags[1].value, "a=b");
    assert!(with("TAGS_TO_ADD", "").unwrap().tags_to_add.is_empty());
    assert_eq!(
        with("EXPECT_CLUSTERS", "a.tld, b.tld")
            .unwrap()
            .expect_clusters,
        ExpectClusters::Named(vec!["a.tld".into(), "b.tld".into()])
    );
}

/// Each of these would have snapshots pass for another member's, or restored volumes not be found.
#[test]
fn keys_that_masters_kops_dlm_or_this_project_read_are_refused_in_tags_to_add() {
    for key in [
        "Name",
        "KubernetesCluster",
        "k8s.io/etcd/main",
        "k8s.io/role/master",
        "k8s.io/role/control-plane",
        "k8s.io/whatever",
        "kubernetes.io/cluster/k8s.mycompany.tld",
        "etcd-backup/verified",
        "etcd-backup/was/Name",
        "aws:dlm:lifecycle-policy-id",
        "AWS:x",
        "dlm:managed",
    ] {
        let value = format!("team=platform,{key}=x");
        let error = with("TAGS_TO_ADD", &value).unwrap_err();
        assert_eq!(error.variable, "TAGS_TO_ADD", "{key}");
        assert_eq!(error.value, value);
    }
    let variables = |target: &'static str, added: &'static str| {
        Settings::from_variables(&move |name| match name {
            "TARGET_TAGS" => Some(target.to_owned()),
            "TAGS_TO_ADD" => Some(added.to_owned()),
            _ => None,
        })
    };
    assert!(variables("backup=etcd", "backup=no").is_err());
    assert!(variables("backup=etcd", "Backup=no,name=x,team=aws:").is_ok());
    insta::assert_snapshot!(
        with("TAGS_TO_ADD", "Name=x").unwrap_err(),
        @r#"TAGS_TO_ADD="Name=x": expected up to 45 key=value with different keys, comma separated (keys up to 128 characters, none of them Name, KubernetesCluster or one of TARGET_TAGS, none beginning with k8s.io/, kubernetes.io/, etcd-backup/, aws: or dlm:, as masters, kops, DLM or this project read those; values up to 256), or nothing"#
    );
}

#[test]
fn a_boundary_is_named_or_is_an_arn() {
    let boundary = |value: &str| {
        with("PERMISSIONS_BOUNDARY", value)
            .unwrap()
            .permissions_boundary
    };
    let arn = |value: &str| boundary(value).unwrap().arn("aws-cn", "123456789012");
    assert_eq!(boundary(""), None);
    for (value, expected) in [
        ("limit", "arn:aws-cn:iam::123456789012:policy/limit"),
        (
            "team/x/limit",
            "arn:aws-cn:iam::123456789012:policy/team/x/limit",
        ),
        (
            "/team/limit",
            "arn:aws-cn:iam::123456789012:policy/team/limit",
        ),
        (
            "arn:aws:iam::123456789012:policy/team/limit",
            "arn:aws:iam::123456789012:policy/team/limit",
        ),
        (
            "arn:aws:iam::aws:policy/PowerUserAccess",
            "arn:aws:iam::aws:policy/PowerUserAccess",
        ),
    ] {
        assert_eq!(arn(value), expected);
    }
}

#[test]
fn what_is_optional_is_taken_where_it_is_given() {
    let settings = with("VOLUME_INITIALIZATION_RATE", "300").unwrap();
    assert_eq!(settings.volume_initialization_rate_mibps, Some(300));
    let settings = with("RESTORES_TABLE", "etcd-backup-Restores-1A2B").unwrap();
    assert_eq!(
        settings.restores_table.as_deref(),
        Some("etcd-backup-Restores-1A2B")
    );
    assert_eq!(
        with("ALERT_FORMAT", "chat").unwrap().alert_format,
        AlertFormat::Chat
    );
    assert_eq!(with("RESTORES_TABLE", "").unwrap().restores_table, None);
    let settings = with("DOCUMENTATION_URL", "https://example.org/docs/").unwrap();
    assert_eq!(
        settings.documentation_url.as_deref(),
        Some("https://example.org/docs")
    );
    let settings = with("RESTORE_FUNCTION", "etcd-backup-restore").unwrap();
    assert_eq!(
        settings.restore_function.as_deref(),
        Some("etcd-backup-restore")
    );
    assert_eq!(
        with("VOLUME_INITIALIZATION_RATE", "")
            .unwrap()
            .volume_initialization_rate_mibps,
        None
    );
}
