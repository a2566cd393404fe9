"""What the deployment is made of: what the emulated CloudFormation makes, and by name
everything that it passes over."""

import json
import re
from typing import Any

from ..deploy import UNKNOWN_TYPES, Stack
from .conftest import REPOSITORY

TOPIC = {"Fn::If": ["MakesTopic", {"Ref": "AlertTopic"}, {"Ref": "AlertTopicArn"}]}
DEAD_LETTERS = {"Fn::GetAtt": ["DeadLetters", "Arn"]}
FUNCTIONS = ("Converge", "Audit", "Restore")


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
    expressions = {name: each["ScheduleExpression"] for name, each in schedules.items()}
    assert expressions == {
        "ConvergeFunctionHourly": "rate(1 hour)",
        "AuditFunctionDaily": {"Ref": "AuditSchedule"},
    }
    assert schedules["AuditFunctionDaily"]["ScheduleExpressionTimezone"] == "UTC"
    for name, schedule in schedules.items():
        target = schedule["Target"]
        assert target["Arn"] == arn_of(name.removesuffix("Hourly").removesuffix("Daily"))
        assert target["DeadLetterConfig"] == {"Arn": DEAD_LETTERS}
        assert target["RetryPolicy"]["MaximumRetryAttempts"] == 10


def test_the_audit_comes_ninety_minutes_after_the_run(transformed: dict[str, Any]) -> None:
    defaults = {name: each.get("Default") for name, each in transformed["Parameters"].items()}
    hours, minutes = map(int, defaults["StartTime"].split(":"))
    due = hours * 60 + minutes + 90
    assert defaults["AuditSchedule"] == f"cron({due % 60} {due // 60 % 24} * * ? *)"


def test_lifecycle_managers_word_reaches_converge(resources: dict[str, Any]) -> None:
    (rule,) = of_type(resources, "AWS::Events::Rule").values()
    assert rule["EventPattern"] == {"source": ["aws.dlm"], "detail-type": ["DLM Policy State Change"]}
    (target,) = rule["Targets"]
    assert target["Arn"] == arn_of("ConvergeFunction")
    assert target["DeadLetterConfig"] == {"Arn": DEAD_LETTERS}
    (policy,) = of_type(resources, "AWS::SQS::QueuePolicy").values()
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
    assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}


def test_asynchronous_failures_are_kept_and_a_restore_is_not_repeated(resources: dict[str, Any]) -> None:
    configurations = of_type(resources, "AWS::Lambda::EventInvokeConfig")
    attempts = {}
    for configuration in configurations.values():
        destination = configuration["DestinationConfig"]["OnFailure"]["Destination"]
        assert destination == DEAD_LETTERS
        attempts[configuration["FunctionName"]["Ref"]] = configuration["MaximumRetryAttempts"]
    assert attempts == {"ConvergeFunction": 2, "AuditFunction": 2, "RestoreFunction": 0}


def test_functions_have_every_setting(resources: dict[str, Any]) -> None:
    settings = (REPOSITORY / "shared/core/src/settings.rs").read_text()
    names = set(re.findall(r'"([A-Z]+(?:_[A-Z]+)+)"', settings))
    assert "ALERT_TOPIC_ARN" in names
    for name in FUNCTIONS:
        function = resources[f"{name}Function"]["Properties"]
        assert function["Environment"]["Variables"].keys() == names
        assert function["Runtime"] == "provided.al2023"
        assert function["Architectures"] == [{"Ref": "Architecture"}]
        assert function["TracingConfig"] == {"Mode": {"Ref": "Tracing"}}
        assert function["LoggingConfig"]["LogGroup"] == {"Ref": f"{name}LogGroup"}
    once = {"Fn::If": ["ReservesConcurrency", 1, {"Ref": "AWS::NoValue"}]}
    reserved = {name: each.get("ReservedConcurrentExecutions") for name, each in of_type(
        resources, "AWS::Lambda::Function").items()}
    assert reserved == {"ConvergeFunction": once, "AuditFunction": None, "RestoreFunction": once}


def test_alarms_watch_what_is_really_there(resources: dict[str, Any]) -> None:
    alarms = of_type(resources, "AWS::CloudWatch::Alarm")
    source = (REPOSITORY / "functions/audit/src/metrics.rs").read_text()
    for name, alarm in alarms.items():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [TOPIC], name
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
    body = body.replace("${Alarms}", separator.join(sorted(named)))
    widgets = json.loads(body)["widgets"]
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
    of_converge |= {"StartTime", "RetainCount", "TargetTags", "TagsToAdd"}
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
            assert name == "AlertTopic"
            continue
        payloads.append(json.loads(re.search(r"--payload '([^']*)'", command).group(1)))
        assert "--cli-binary-format raw-in-base64-out" in command, name
    assert {"action": "undo", "cluster": "k8s.mycompany.tld", "masters": "replace"} in payloads
    assert {"cluster": "k8s.mycompany.tld", "masters": "replace"} in payloads
