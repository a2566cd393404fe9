//! The harness itself: an emulated AWS starts, a fleet is there as masters would find it, a binary
//! answers.

use std::time::Duration;

use e2e::candidates::{etcd_manager_candidates, protokube_candidates};
use e2e::{CrashPoint, EmulatedAws, FUNCTIONS, Fault, Function, InvocationOptions, Kops, Style};
use serde_json::json;

#[tokio::test]
async fn an_emulated_aws_is_empty_and_ones_own() {
    let (one, other) = tokio::join!(EmulatedAws::start(), EmulatedAws::start());
    assert_ne!(one.endpoint(), other.endpoint());
    one.create_topic("alerts").await;
    assert_eq!(one.writes().await.len(), 1);
    assert!(other.calls().await.is_empty());
    let before = one.clock().await;
    one.advance(Duration::from_secs(3600)).await;
    assert!(one.clock().await.as_second() - before.as_second() >= 3600);
}

#[tokio::test]
async fn masters_find_exactly_their_own_volumes() {
    let aws = EmulatedAws::start().await;
    let new = Kops::new("k8s.mycompany.tld").seed(&aws).await;
    let newest = Kops::new("live-2.mycompany.tld")
        .style(Style::New {
            control_plane: true,
        })
        .encrypted()
        .seed(&aws)
        .await;
    e2e::fleet::strangers(&aws, 14).await;
    for cluster in [&new, &newest] {
        for (member, zone) in &cluster.kops.members {
            for etcd_cluster in ["main", "events"] {
                let found = etcd_manager_candidates(&aws, cluster.name(), etcd_cluster, zone).await;
                let own = cluster.volume(&format!("{etcd_cluster}/{member}"));
                assert_eq!(found, std::slice::from_ref(own), "{etcd_cluster}/{member}");
            }
        }
    }
    assert_eq!(
        new.masters[1].group,
        "master-eu-west-2b.masters.k8s.mycompany.tld"
    );
}

#[tokio::test]
async fn protokube_finds_etcd_and_root_volumes() {
    let aws = EmulatedAws::start().await;
    let cluster = Kops::old("old.mycompany.tld").seed(&aws).await;
    let mut expected = vec![
        cluster.volume("main/eu-west-2a").clone(),
        cluster.volume("events/eu-west-2a").clone(),
        cluster.masters[0].root_volume.clone(),
    ];
    expected.sort();
    let found = protokube_candidates(&aws, cluster.name(), "eu-west-2a").await;
    assert_eq!(found, expected);
    let found = etcd_manager_candidates(&aws, cluster.name(), "main", "eu-west-2a").await;
    assert!(found.is_empty(), "{found:?}");

    cluster.lose_volumes(&aws).await;
    let found = protokube_candidates(&aws, cluster.name(), "eu-west-2a").await;
    assert_eq!(found, [cluster.masters[0].root_volume.clone()]);
}

#[tokio::test]
async fn a_function_answers_is_killed_and_comes_back() {
    let aws = EmulatedAws::start().await;
    let mut function = Function::start(&aws, "converge", &[]).await;
    let event = json!({"action": "no such action"});
    let options = InvocationOptions {
        request_id: Some("8476a536-e9f4-11e8-9739-2dfe598c3fcd".to_owned()),
        ..InvocationOptions::default()
    };
    for _ in 0..2 {
        let error = function
            .invoke_with(event.clone(), options.clone())
            .await
            .unwrap_err();
        assert_eq!(error.error_type, "InvalidEvent", "{error}");
    }

    aws.fault(Fault::delay("*", "*", Duration::from_secs(30)).forever())
        .await;
    let (result, ()) = tokio::join!(function.invoke(json!({"action": "plan"})), async {
        while aws.calls_seen_by_faults().await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        function.kill().await;
    });
    assert_eq!(result.unwrap_err().error_type, "Runtime.ExitError");

    function.restart().await;
    let error = function.invoke(event).await.unwrap_err();
    assert_eq!(error.error_type, "InvalidEvent", "{error}");
}

#[tokio::test]
async fn every_function_says_its_version_at_start_and_when_it_is_asked() {
    let aws = EmulatedAws::start().await;
    let version = env!("CARGO_PKG_VERSION");
    for name in FUNCTIONS {
        let function = Function::start(&aws, name, &[]).await;
        let answer = function.invoke(json!({"action": "version"})).await.unwrap();
        let text = format!("{name} {version}");
        let expected =
            json!({"action": "version", "function": name, "version": version, "text": text});
        assert_eq!(answer, expected);
        let told = format!("version={version}");
        function
            .logs_once(|logs| logs.replace('"', "").contains(&told))
            .await;
        let event = json!({"action": "version", "cluster": "k8s.mycompany.tld"});
        let error = function.invoke(event).await.unwrap_err();
        assert_eq!(error.error_type, "InvalidEvent", "{error}");
    }
    assert!(aws.calls().await.is_empty());
}

#[tokio::test]
async fn an_invocation_ends_at_its_deadline() {
    let aws = EmulatedAws::start().await;
    let function = Function::start(&aws, "converge", &[]).await;
    aws.fault(Fault::delay("*", "*", Duration::from_secs(30)).forever())
        .await;
    let options = InvocationOptions::within(Duration::from_millis(200));
    let error = function.invoke_with(json!({}), options).await.unwrap_err();
    assert_eq!(error.error_type, "Sandbox.Timedout");
}

#[tokio::test]
async fn a_function_can_live_in_the_emulated_time() {
    let aws = EmulatedAws::start().await;
    let function = Function::start_in_emulated_time(&aws, "audit", &[]).await;
    let copy = aws.fork().await;
    let function_there = Function::start_in_emulated_time(&copy, "audit", &[]).await;
    // The audit says what its clock says where no event gives it a "now".
    for (aws, function, hours) in [
        (&aws, &function, 30),
        (&aws, &function, 1000),
        (&copy, &function_there, 5),
    ] {
        aws.advance(Duration::from_secs(hours * 3600)).await;
        let answer = function.invoke(json!({})).await.unwrap();
        let audited_at: jiff::Timestamp = answer["audited_at"].as_str().unwrap().parse().unwrap();
        let behind = aws.clock().await.duration_since(audited_at).as_secs_f64();
        assert!((-0.5..600.0).contains(&behind), "{behind} seconds behind");
    }
    let here = Function::start(&aws, "audit", &[]).await;
    let answer = here.invoke(json!({})).await.unwrap();
    let audited_at: jiff::Timestamp = answer["audited_at"].as_str().unwrap().parse().unwrap();
    assert!(jiff::Timestamp::now().duration_since(audited_at).as_secs() < 600);
}

#[tokio::test]
async fn a_bad_setting_is_reported_to_lambda_before_the_end() {
    let aws = EmulatedAws::start().await;
    let variables = [("RETAIN_COUNT", "0")];
    let failed = Function::start_expecting_exit(&aws, "converge", &variables).await;
    assert_eq!(failed.exit_code, Some(1));
    assert!(
        failed.logs.contains("RETAIN_COUNT=\"0\""),
        "{}",
        failed.logs
    );
    let init_error = failed.init_error.expect("told to the runtime API");
    assert!(
        init_error.starts_with("InvalidSetting: RETAIN_COUNT"),
        "{init_error}"
    );
}

#[tokio::test]
async fn a_backed_up_fleet_has_one_snapshot_per_day_and_volume() {
    let fleet = e2e::backed_up_fleet(2).await;
    assert!(fleet.aws.calls().await.is_empty());
    let runs = fleet.next_morning().await;
    // Both clusters' etcd volumes and their masters' root volumes.
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0].created.len(), 2 * (6 + 3));
    assert_eq!(runs[0].policy_id, fleet.policy);
}

#[tokio::test]
async fn a_crash_leaves_exactly_the_calls_before_it() {
    let aws = EmulatedAws::start().await;
    let mut converge = Function::start(&aws, "converge", &[]).await;
    for (point, served) in [(CrashPoint::Before(2), 1), (CrashPoint::After(2), 2)] {
        aws.clear_calls().await;
        let result = converge.invoke_and_crash(&aws, json!({}), point).await;
        assert_eq!(result, None);
        let calls = aws.calls().await;
        let lost = |call: &&e2e::Call| call.fault.as_deref() == Some("drop_request");
        let done = calls.len() - calls.iter().filter(lost).count();
        assert_eq!(done, served, "{point:?}: {calls:#?}");
        converge.restart().await;
    }
    let point = CrashPoint::Before(1000);
    let result = converge.invoke_and_crash(&aws, json!({}), point).await;
    let answer = result.expect("it ends before").expect("and well");
    assert_eq!(answer["outcome"], "changed");
}
