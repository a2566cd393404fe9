"""What the deployment is made of: what the emulated CloudFormation makes, and by name
everything that it passes over."""

import json
import re
from typing import Any

from ..deploy import UNKNOWN_TYPES, Stack, deploy, emulated_aws
from .conftest import REPOSITORY

TOPIC = {"Fn::If": ["MakesTopic", {"Ref": "AlertTopic"}, {"Ref": "AlertTopicArn"}]}
DEAD_LETTERS = {"Fn::GetAtt": ["DeadLetters", "Arn"]}
FUNCTIONS = ("Converge", "Audit", "Restore", "Verify")
RESTORE_FUNCTION = {"Ref": "RestoreFunction"}
RESTORES_TABLE = {"Fn::If": ["MakesRestoresTable", {"Ref": "RestoreRecords"}, {"Ref": "RestoresTable"}]}


def of_type(resources: dict[str, Any], kind: str) -> dict[str, Any]:
    found = {name: each["Properties"] for name, each in resources.items() if each["Type"] == kind}
    assert found, f"no {kind}"
    return found


def arn_of(name: str) -> dict[str, Any]:
    return {"Fn::GetAtt": [name, "Arn"]}


def test_it_is_created_but_for_what_is_looked_at_below(resources: dict[str, Any], stack: Stack) -> None:
    assert stack.status == "CREATE_COMPLETE"
    conditional = {"AlertSubscription"}  # no address was given
    passed_over = {name for name, each in resources.items() if each["Type"] in UNKNOWN_TYPES}
    assert resources.keys() - stack.made.keys() == passed_over | conditional
    assert {resources[name]["Type"] for name in passed_over} == UNKNOWN_TYPES


def test_schedules_try_again_and_lose_nothing(resources: dict[str, Any]) -> None:
    schedules = of_type(resources, "AWS::Scheduler::Schedule")
    targets = {name: each["Target"]["Arn"] for name, each in schedules.items()}
    assert targets == {
        "ConvergeHourly": arn_of("ConvergeFunction"),
        "AuditDaily": arn_of("AuditFunction"),
        "VerifyHourly": arn_of("VerifyFunction"),
    }
    for hourly in ("ConvergeHourly", "VerifyHourly"):
        assert schedules[hourly]["ScheduleExpression"] == "rate(1 hour)"
    assert schedules["AuditDaily"]["ScheduleExpressionTimezone"] == "UTC"
    (statement, dead_letters) = resources["SchedulesRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    assert statement["Action"] == "lambda:InvokeFunction"
    assert sorted(map(str, statement["Resource"])) == sorted(map(str, targets.values()))
    assert (dead_letters["Action"], dead_letters["Resource"]) == ("sqs:SendMessage", DEAD_LETTERS)
    for schedule in schedules.values():
        target = schedule["Target"]
        assert target["RoleArn"] == arn_of("SchedulesRole")
        assert target["DeadLetterConfig"] == {"Arn": DEAD_LETTERS}
        assert target["RetryPolicy"]["MaximumRetryAttempts"] == 10
        # A name would be in the way of a second stack in the Region.
        assert not {"Name", "GroupName"} & schedule.keys()


def test_nothing_invokes_a_function_before_the_first_convergence_or_after_the_last(
    resources: dict[str, Any],
) -> None:
    """CloudFormation creates in the order of dependencies, and deletes in the reverse."""
    invoking = {"AWS::Scheduler::Schedule", "AWS::Events::Rule"}
    waiting = {name: each.get("DependsOn") for name, each in resources.items() if each["Type"] in invoking}
    assert len(waiting) == 5
    assert set(waiting.values()) == {"ConvergedBackups"}
    # Nor does the resource itself wait for any of them, directly or by what it refers to.
    assert not needed_by(resources, "ConvergedBackups") & waiting.keys()


def needed_by(resources: dict[str, Any], name: str) -> set[str]:
    """All that a resource refers to or waits for, and all that these do."""
    found: set[str] = set()
    left = [name]
    while left:
        text = json.dumps(resources[left.pop()])
        mentioned = {other for other in resources if re.search(rf'["{{]{other}["}}.]', text)}
        left += mentioned - found
        found |= mentioned
    return found - {name}


def test_the_audit_and_the_oldest_age_follow_from_when_runs_are_unless_given(
    resources: dict[str, Any], transformed: dict[str, Any]
) -> None:
    audit = resources["AuditDaily"]["Properties"]["ScheduleExpression"]
    oldest = resources["RestorePointAgeAlarm"]["Properties"]["Threshold"]
    source = (REPOSITORY / "functions/converge/src/custom_resource.rs").read_text()
    for value, condition, name in (
        (audit, "HasAuditSchedule", "AuditSchedule"),
        (oldest, "HasRestorePointAge", "RestorePointAgeHoursMax"),
    ):
        assert value == {"Fn::If": [condition, {"Ref": name}, {"Fn::GetAtt": ["ConvergedBackups", name]}]}
        given = {"Fn::Not": [{"Fn::Equals": [{"Ref": name}, ""]}]}
        assert transformed["Conditions"][condition] == given
        assert transformed["Parameters"][name]["Default"] == ""
        assert f'"{name}":' in source, "converge answers it"


def test_rules_tell_the_functions_what_others_did(resources: dict[str, Any]) -> None:
    rules = of_type(resources, "AWS::Events::Rule")
    permissions = {
        permission["SourceArn"]["Fn::GetAtt"][0]: permission
        for permission in of_type(resources, "AWS::Lambda::Permission").values()
    }
    assert permissions.keys() == rules.keys() == {"LifecyclePolicyStateChange", "SnapshotCompleted"}
    for name, function in {
        "LifecyclePolicyStateChange": "ConvergeFunction",
        "SnapshotCompleted": "VerifyFunction",
    }.items():
        (target,) = rules[name]["Targets"]
        assert target["Arn"] == arn_of(function)
        assert target["DeadLetterConfig"] == {"Arn": DEAD_LETTERS}
        assert permissions[name]["Principal"] == "events.amazonaws.com"
        assert permissions[name]["FunctionName"] == {"Ref": function}
    state_change = rules["LifecyclePolicyStateChange"]["EventPattern"]
    assert state_change == {"source": ["aws.dlm"], "detail-type": ["DLM Policy State Change"]}
    completed = rules["SnapshotCompleted"]["EventPattern"]
    # Copies and shares send events of the same type.
    assert completed["detail"] == {"event": ["createSnapshot"], "result": ["succeeded"]}
    assert (completed["source"], completed["detail-type"]) == (["aws.ec2"], ["EBS Snapshot Notification"])


def test_nothing_is_verified_by_itself_where_that_is_off(
    resources: dict[str, Any], transformed: dict[str, Any]
) -> None:
    unless_off = {"Fn::If": ["Verifies", "ENABLED", "DISABLED"]}
    for name in ("VerifyHourly", "SnapshotCompleted"):
        assert resources[name]["Properties"]["State"] == unless_off
    assert transformed["Conditions"]["Verifies"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "Verify"}, "off"]}]}
    assert transformed["Parameters"]["Verify"]["AllowedValues"] == ["daily", "all", "off"]
    assert transformed["Parameters"]["Verify"]["Default"] == "daily"


def test_only_verify_reads_snapshots_and_writes_nothing_but_verdicts(stack: Stack) -> None:
    for function, documents in stack.policies.items():
        statements = [each for document in documents for each in document["Statement"]]
        reading = [each for each in statements if "ebs:" in json.dumps(each["Action"])]
        if function != "verify":
            assert reading == []
            continue
        of_clusters = {"aws:ResourceTag/KubernetesCluster": "false"}
        (reading,) = reading
        assert reading["Condition"] == {"Null": of_clusters}
        (writing,) = [each for each in statements if "ec2:CreateTags" in each["Action"]]
        (keys,) = writing["Condition"]["ForAllValues:StringEquals"].values()
        source = (REPOSITORY / "shared/core/src/verdict.rs").read_text()
        assert sorted(keys) == sorted(re.findall(r'"(etcd-backup/[a-z-]+)"', source))
        assert writing["Condition"]["Null"] == of_clusters
        assert {each["Resource"] for each in (reading, writing)} == {"arn:aws:ec2:eu-west-2::snapshot/*"}


def test_only_this_stacks_rules_may_leave_dead_letters(resources: dict[str, Any]) -> None:
    (policy,) = of_type(resources, "AWS::SQS::QueuePolicy").values()
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
    rules = [arn_of(name) for name in of_type(resources, "AWS::Events::Rule")]
    assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": rules}}


def test_every_role_has_the_boundary_that_is_set(
    resources: dict[str, Any], transformed: dict[str, Any], stack: Stack
) -> None:
    assert len(stack.boundaries) == len(of_type(resources, "AWS::IAM::Role")) == 5
    assert set(stack.boundaries.values()) == {None}
    arn = "arn:aws:iam::123456789012:policy/team/boundary"
    for given in ("team/boundary", arn):
        with emulated_aws() as endpoint:
            bounded = deploy(endpoint, transformed, {"PermissionsBoundary": given})
        assert bounded.status == "CREATE_COMPLETE"
        assert len(bounded.boundaries) == 5
        assert set(bounded.boundaries.values()) == {arn}
        making = [
            statement
            for document in bounded.policies["converge"]
            for statement in document["Statement"]
            if "iam:CreateRole" in statement["Action"]
        ]
        (making,) = making
        assert set(making["Action"]) == {"iam:CreateRole", "iam:PutRolePermissionsBoundary"}
        assert making["Condition"] == {"StringEquals": {"iam:PermissionsBoundary": arn}}


def test_asynchronous_failures_are_kept_and_a_restore_is_not_repeated(resources: dict[str, Any]) -> None:
    configurations = of_type(resources, "AWS::Lambda::EventInvokeConfig")
    attempts = {}
    for configuration in configurations.values():
        destination = configuration["DestinationConfig"]["OnFailure"]["Destination"]
        assert destination == DEAD_LETTERS
        attempts[configuration["FunctionName"]["Ref"]] = configuration["MaximumRetryAttempts"]
    assert attempts == {"ConvergeFunction": 2, "AuditFunction": 2, "RestoreFunction": 0, "VerifyFunction": 2}


def test_functions_have_every_setting(resources: dict[str, Any]) -> None:
    settings = (REPOSITORY / "shared/core/src/settings.rs").read_text()
    names = set(re.findall(r'"([A-Z]+(?:_[A-Z]+)+)"', settings))
    assert "ALERT_TOPIC_ARN" in names and '"VERIFY"' in settings
    names.add("VERIFY")
    (dashboard,) = of_type(resources, "AWS::CloudWatch::Dashboard").values()
    for name in FUNCTIONS:
        function = resources[f"{name}Function"]["Properties"]
        # converge and verify have nothing to do with restores, and the table is made after converge has run.
        unneeded = {"RESTORES_TABLE"} if name in ("Converge", "Verify") else set()
        unneeded |= {"RESTORE_FUNCTION"} if name != "Audit" else set()
        variables = function["Environment"]["Variables"]
        assert variables.keys() == names - unneeded
        assert variables.get("RESTORES_TABLE", RESTORES_TABLE) == RESTORES_TABLE
        assert variables.get("RESTORE_FUNCTION", RESTORE_FUNCTION) == RESTORE_FUNCTION
        assert variables["DASHBOARD_NAME"] == dashboard["DashboardName"]
        assert function["Runtime"] == "provided.al2023"
        assert function["Architectures"] == [{"Ref": "Architecture"}]
        assert function["TracingConfig"] == {"Mode": {"Ref": "Tracing"}}
        assert function["LoggingConfig"]["LogGroup"] == {"Ref": f"{name}LogGroup"}
    once, twice = ({"Fn::If": ["ReservesConcurrency", count, {"Ref": "AWS::NoValue"}]} for count in (1, 2))
    reserved = {name: each.get("ReservedConcurrentExecutions") for name, each in of_type(
        resources, "AWS::Lambda::Function").items()}
    assert reserved == {
        "ConvergeFunction": once,
        "AuditFunction": None,
        "RestoreFunction": None,
        "VerifyFunction": twice,
    }


def test_the_table_of_restores_outlives_the_stack(resources: dict[str, Any], stack: Stack) -> None:
    table = resources["RestoreRecords"]
    assert (table["DeletionPolicy"], table["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")
    assert "TableName" not in table["Properties"], "a stack made again would find the name taken"
    # Until converge has run, a failed deployment is rolled back without it.
    assert table["DependsOn"] == "ConvergedBackups"
    (described,) = stack.tables
    assert described["TableName"] == stack.made["RestoreRecords"]
    assert described["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert described["DeletionProtectionEnabled"]
    kinds = {each["AttributeName"]: each["AttributeType"] for each in described["AttributeDefinitions"]}
    keys = {each["AttributeName"]: each["KeyType"] for each in described["KeySchema"]}
    assert (kinds, keys) == ({"cluster": "S", "id": "S"}, {"cluster": "HASH", "id": "RANGE"})
    # moto's CloudFormation passes over it.
    recovery = table["Properties"]["PointInTimeRecoverySpecification"]
    assert recovery == {"PointInTimeRecoveryEnabled": True}
    for function, actions in {"audit": {"Query"}, "restore": {"GetItem", "PutItem", "Query"}}.items():
        assert allowed_on_tables(stack, function) == {described["TableArn"]: actions}
    assert allowed_on_tables(stack, "converge") == allowed_on_tables(stack, "verify") == {}


def test_a_kept_table_is_taken_instead(transformed: dict[str, Any]) -> None:
    with emulated_aws() as endpoint:
        stack = deploy(endpoint, transformed, {"RestoresTable": "kept.restores_1-a"})
    assert stack.status == "CREATE_COMPLETE"
    assert stack.tables == [] and "RestoreRecords" not in stack.made
    kept = "arn:aws:dynamodb:eu-west-2:123456789012:table/kept.restores_1-a"
    assert allowed_on_tables(stack, "restore") == {kept: {"GetItem", "PutItem", "Query"}}
    assert allowed_on_tables(stack, "audit") == {kept: {"Query"}}


def allowed_on_tables(stack: Stack, function: str) -> dict[str, set[str]]:
    allowed: dict[str, set[str]] = {}
    for document in stack.policies[function]:
        for statement in document["Statement"]:
            actions = statement["Action"]
            names = [actions] if isinstance(actions, str) else actions
            of_tables = {name.removeprefix("dynamodb:") for name in names if name.startswith("dynamodb:")}
            if of_tables:
                assert statement["Effect"] == "Allow"
                allowed.setdefault(statement["Resource"], set()).update(of_tables)
    return allowed


def test_each_statement_has_a_name_of_its_own(stack: Stack) -> None:
    for function, documents in stack.policies.items():
        statements = [each for document in documents for each in document["Statement"]]
        # SAM's own have none.
        names = [each["Sid"] for each in statements if "Sid" in each]
        assert sorted(names) == sorted(set(names)), function


def test_alarms_watch_what_is_really_there(resources: dict[str, Any]) -> None:
    alarms = of_type(resources, "AWS::CloudWatch::Alarm")
    source = (REPOSITORY / "functions/audit/src/metrics.rs").read_text()
    for name, alarm in alarms.items():
        assert alarm["AlarmActions"] == [TOPIC], name
        # A metric that is missing where all is well is OK from the start, and would mail so.
        is_ok_from_the_start = alarm["TreatMissingData"] == "notBreaching"
        assert alarm.get("OKActions") == (None if is_ok_from_the_start else [TOPIC]), name
        if alarm["Namespace"] == "EtcdBackup":
            assert f'"{alarm["MetricName"]}"' in source, name
            assert "Dimensions" not in alarm, f"{name}: the line of all clusters has none"
    watched = {
        (alarm["MetricName"], alarm["Dimensions"][0]["Value"]["Ref"])
        for alarm in alarms.values()
        if alarm["Namespace"] == "AWS/Lambda"
    }
    errors = {("Errors", f"{name}Function") for name in FUNCTIONS}
    assert watched == errors | {("Throttles", "ConvergeFunction"), ("Throttles", "AuditFunction")}
    no_audit = alarms["NoAuditAlarm"]
    assert no_audit["Period"] * no_audit["EvaluationPeriods"] == 26 * 3600
    assert (no_audit["Statistic"], no_audit["TreatMissingData"]) == ("SampleCount", "breaching")
    # A metric that comes once a day: between two audits the last word holds.
    for name in ("CriticalFindingsAlarm", "RestorePointAgeAlarm"):
        assert alarms[name]["TreatMissingData"] == "ignore"


def test_the_dashboard_shows_the_calendar_and_every_alarm(resources: dict[str, Any]) -> None:
    (dashboard,) = of_type(resources, "AWS::CloudWatch::Dashboard").values()
    body, variables = dashboard["DashboardBody"]["Fn::Sub"]
    separator, arns = variables["Alarms"]["Fn::Join"]
    named = {arn["Fn::GetAtt"][0] for arn in arns}
    assert named == of_type(resources, "AWS::CloudWatch::Alarm").keys()
    body = json.loads(body.replace("${Alarms}", separator.join(sorted(named))))
    assert (body["start"], body["periodOverride"]) == ("-P14D", "inherit")
    widgets = body["widgets"]
    assert widgets[0]["properties"]["endpoint"] == "${AuditFunction.Arn}"
    assert sorted(widgets[-1]["properties"]["alarms"]) == sorted(named)
    source = (REPOSITORY / "functions/audit/src/metrics.rs").read_text()
    for widget in widgets:
        for _, metric in widget["properties"].get("metrics", []):
            assert f'"{metric}"' in source


def test_alarms_may_publish_to_the_encrypted_topic(resources: dict[str, Any]) -> None:
    assert resources["AlertTopic"]["Properties"]["KmsMasterKeyId"] == arn_of("AlertKey")
    key = resources["AlertKey"]["Properties"]["KeyPolicy"]["Statement"]
    (topic,) = of_type(resources, "AWS::SNS::TopicPolicy").values()
    for statements, action in ((key, "kms:GenerateDataKey*"), (topic["PolicyDocument"]["Statement"], "sns:Publish")):
        (alarms,) = [each for each in statements if each["Sid"] == "Alarms"]
        assert alarms["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
        assert action in alarms["Action"]
        assert alarms["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}


def test_deploying_converges_and_deleting_keeps(resources: dict[str, Any], transformed: dict[str, Any]) -> None:
    converged = resources["ConvergedBackups"]["Properties"]
    assert converged["ServiceToken"] == arn_of("ConvergeFunction")
    assert converged["OnDelete"] == {"Ref": "OnDelete"}
    assert transformed["Parameters"]["OnDelete"]["Default"] == "keep"
    # A change of any of converge's settings must be a change of the resource.
    of_converge = {"RoleName", "RolePolicyName", "PolicyDescription", "ScheduleName", "IntervalHours"}
    of_converge |= {"StartTime", "RetainCount", "TargetTags", "TagsToAdd", "PermissionsBoundary"}
    assert {name: {"Ref": name} for name in of_converge}.items() <= converged.items()


def test_parameters_are_explained_and_grouped(transformed: dict[str, Any]) -> None:
    interface = transformed["Metadata"]["AWS::CloudFormation::Interface"]
    grouped = [name for group in interface["ParameterGroups"] for name in group["Parameters"]]
    assert sorted(grouped) == sorted(transformed["Parameters"])
    assert interface["ParameterLabels"].keys() == transformed["Parameters"].keys()
    for name, parameter in transformed["Parameters"].items():
        assert parameter.get("Description"), name
        is_bound = {"AllowedPattern", "AllowedValues", "MinValue"} & parameter.keys()
        assert is_bound or parameter["Type"] != "String", name


def test_it_names_no_account_and_no_partition() -> None:
    template = (REPOSITORY / "template.yaml").read_text()
    assert not re.search(r"\b\d{12}\b", template)
    assert not re.search(r"arn:aws[a-z-]*:", template)


def test_outputs_are_ready_to_paste(transformed: dict[str, Any]) -> None:
    payloads = []
    for name, output in transformed["Outputs"].items():
        value = output["Value"]
        command = value["Fn::Sub"] if isinstance(value, dict) and "Fn::Sub" in value else ""
        if "lambda invoke" not in command:
            assert name in ("AlertTopic", "RestoresTable")
            continue
        payloads.append(json.loads(re.search(r"--payload '([^']*)'", command).group(1)))
        assert "--cli-binary-format raw-in-base64-out" in command, name
        # Neither for ever, where the answer was lost, nor twice.
        assert command.startswith("AWS_MAX_ATTEMPTS=1 aws lambda invoke --cli-read-timeout 920 "), name
    assert {"action": "undo", "cluster": "k8s.mycompany.tld", "masters": "replace"} in payloads
    assert {"cluster": "k8s.mycompany.tld", "masters": "replace"} in payloads


def test_what_is_built_and_tested_is_the_default(transformed: dict[str, Any]) -> None:
    architecture = transformed["Parameters"]["Architecture"]
    assert architecture["Default"] == "x86_64"
    assert "arm64" in architecture["AllowedValues"]
