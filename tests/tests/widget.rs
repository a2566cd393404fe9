//! The dashboard widget and the metrics, by the real binary: a widget only shows, an audit measures.

use e2e::{BackedUpFleet, Fault, Function, Outcome, backed_up_fleet};
use scraper::{Html, Selector};
use serde_json::{Value, json};

const CLUSTER: &str = "k8s.mycompany.tld";

/// A fleet whose due run left no snapshot of one member.
async fn red_fleet() -> BackedUpFleet {
    let fleet = backed_up_fleet(2).await;
    let volume = fleet.cluster.volume("main/a").clone();
    fleet.aws.plant(&volume, Outcome::Missing, 1).await;
    fleet.next_morning().await;
    fleet.aws.clear_calls().await;
    fleet
}

async fn invoke(audit: &Function, event: Value) -> Value {
    let answer = audit.invoke(event).await;
    answer.unwrap_or_else(|error| panic!("{error}\n{}", audit.logs()))
}

/// What a dashboard sends, with a widget's parameters.
async fn widget(fleet: &BackedUpFleet, audit: &Function, parameters: Value) -> Html {
    let mut event = parameters;
    event["now"] = json!(fleet.now().await);
    event["widgetContext"] = json!({
        "dashboardName": "etcd-backup", "widgetId": "widget-1", "theme": "dark",
        "params": event, "forms": {"all": {}}, "width": 1180, "height": 560,
    });
    let answer = invoke(audit, event).await;
    let html = answer.as_str().expect("a string of HTML");
    assert!(!html.contains("<script"), "{html}");
    Html::parse_fragment(html)
}

fn texts(page: &Html, selector: &str) -> Vec<String> {
    let selector = Selector::parse(selector).unwrap();
    let elements = page.select(&selector);
    elements.map(|element| element.text().collect()).collect()
}

/// The lines in CloudWatch's embedded metric format.
fn metric_lines(logs: &str) -> Vec<Value> {
    let json = logs
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    json.filter(|line: &Value| line["_aws"].is_object())
        .collect()
}

#[tokio::test]
async fn a_widget_shows_what_is_wrong_and_alerts_nobody() {
    let fleet = red_fleet().await;
    let audit = fleet.function("audit").await;
    let page = widget(&fleet, &audit, json!({})).await;

    assert_eq!(texts(&page, ".badge")[0], "critical");
    assert_eq!(
        texts(&page, "tr.cluster b"),
        [CLUSTER, "live-2.mycompany.tld"]
    );
    // Two days and the red one, of two clusters of six members.
    assert_eq!(texts(&page, "td.completed").len(), 3 * 12 - 1);
    assert_eq!(texts(&page, "td.missing"), ["!"]);
    assert_eq!(texts(&page, "li code"), ["snapshot_missing"]);

    assert!(fleet.aws.messages().await.is_empty());
    assert!(fleet.aws.writes().await.is_empty());
    assert!(!audit.logs().contains("_aws"), "{}", audit.logs());
}

#[tokio::test]
async fn a_widget_of_one_cluster_shows_that_one() {
    let fleet = red_fleet().await;
    let audit = fleet.function("audit").await;
    let parameters = json!({"clusters": ["live-2.mycompany.tld"]});
    let page = widget(&fleet, &audit, parameters).await;
    assert_eq!(texts(&page, ".badge")[0], "ok");
    assert_eq!(texts(&page, "tr.cluster b"), ["live-2.mycompany.tld"]);
}

#[tokio::test]
async fn a_cluster_named_as_a_script_is_shown_by_that_name() {
    let fleet = backed_up_fleet(0).await;
    let evil = "<script>alert(1)</script>";
    let tag = aws_sdk_ec2::types::Tag::builder();
    for key in ["KubernetesCluster", "Name"] {
        let tagging = fleet.aws.ec2().create_tags();
        let tagging = tagging.resources(fleet.cluster.volume("main/a").as_str());
        let tagging = tagging.tags(tag.clone().key(key).value(evil).build());
        tagging.send().await.unwrap();
    }
    let audit = fleet.function("audit").await;
    let page = widget(&fleet, &audit, json!({})).await;
    let clusters = texts(&page, "tr.cluster b");
    assert!(clusters.iter().any(|name| name == evil), "{clusters:?}");
}

#[tokio::test]
async fn the_documentation_needs_no_call() {
    let fleet = backed_up_fleet(0).await;
    let audit = fleet.function("audit").await;
    let answer = invoke(&audit, json!({"describe": true})).await;
    let documentation = answer.as_str().expect("a string of Markdown");
    assert!(documentation.starts_with("## etcd backup calendar\n"));
    assert!(fleet.aws.calls().await.is_empty());
}

#[tokio::test]
async fn a_widget_that_cannot_be_read_fails_and_shows_nothing() {
    let fleet = backed_up_fleet(1).await;
    let audit = fleet.function("audit").await;
    let fault = Fault::error("ec2", "DescribeSnapshots", "UnauthorizedOperation", 403).forever();
    fleet.aws.fault(fault).await;
    let error = audit
        .invoke(json!({"widgetContext": {}}))
        .await
        .unwrap_err();
    assert_eq!(error.error_type, "AwsError", "{error}");
}

#[tokio::test]
async fn an_audit_measures_each_cluster_and_all() {
    let fleet = red_fleet().await;
    let audit = fleet.function("audit").await;
    let answer = invoke(&audit, json!({"now": fleet.now().await})).await;
    assert_eq!(fleet.aws.messages().await.len(), 1);

    let logs = audit.logs_once(|logs| metric_lines(logs).len() >= 3).await;
    let lines = metric_lines(&logs);
    assert_eq!(lines.len(), 3, "{logs}");
    let of = |index: usize, name: &str| lines[index][name].as_f64();
    assert_eq!(lines[0]["Cluster"], CLUSTER);
    assert_eq!(of(0, "VolumesTotal"), Some(6.0));
    assert_eq!(of(0, "VolumesCovered"), Some(5.0));
    assert_eq!(of(0, "SnapshotsMissing"), Some(1.0));
    assert_eq!(of(1, "SnapshotsMissing"), Some(0.0));
    assert!(of(0, "RestorePointAgeHours") > of(1, "RestorePointAgeHours"));
    assert_eq!(of(1, "AuditDurationMs"), None);
    assert!(lines[2].get("Cluster").is_none());
    assert_eq!(of(2, "VolumesCovered"), Some(11.0));
    assert_eq!(of(2, "FindingsCritical"), Some(1.0));
    assert_eq!(of(2, "RestorePointAgeHours"), of(0, "RestorePointAgeHours"));
    assert!(of(2, "AuditDurationMs") > Some(0.0));
    let audited_at: jiff::Timestamp = answer["audited_at"].as_str().unwrap().parse().unwrap();
    for line in &lines {
        assert_eq!(line["_aws"]["Timestamp"], audited_at.as_millisecond());
    }
}
