"""The lists of the reference are those of the code and of the template."""

import re

from . import code
from .pages import Page, code_spans, rows

REFERENCE = "docs/reference"
SETTINGS = Page(f"{REFERENCE}/settings-and-parameters.md")
FINDINGS = Page(f"{REFERENCE}/findings.md")
ERRORS = Page(f"{REFERENCE}/errors.md")
METRICS = Page(f"{REFERENCE}/metrics.md")
TAGS = Page(f"{REFERENCE}/tags.md")
PERMISSIONS = Page(f"{REFERENCE}/permissions.md")
EVENTS = Page(f"{REFERENCE}/events-and-answers.md")
VERIFY = Page("docs/verify.md")
EMPTY = "(empty)"


def plain(cell: str) -> str:
    """A cell's text without its backticks; empty where it says that it is."""
    text = cell.strip("`")
    return "" if text == EMPTY else text


def settings() -> list[tuple[str, str, str, str]]:
    """Variable, parameter (empty where there is none) and the defaults of both, which may differ."""
    table = rows(SETTINGS.section("Settings").text)
    defaults = [[plain(default) for default in row[1].split("<br>")] for row in table]
    named = [(*code_spans(row[0]), "")[:2] for row in table]
    return [(*names, default[0], default[-1]) for names, default in zip(named, defaults, strict=True)]


def test_settings_and_their_defaults() -> None:
    assert {variable: default for variable, _, default, _ in settings()} == code.settings()


def test_the_parameters_that_settings_are_set_from() -> None:
    listed = {variable: parameter for variable, parameter, _, _ in settings()}
    from_template = code.variables_of_parameters()
    assert {name: from_template.get(name, "") for name in listed} == listed
    assert set(from_template) <= set(listed)


def test_parameters_and_their_defaults() -> None:
    others = rows(SETTINGS.section("Other parameters").text)
    listed = {parameter: default for _, parameter, _, default in settings() if parameter}
    listed |= {plain(row[0]): plain(row[1]) for row in others}
    assert listed == code.parameters()


def test_findings_have_a_section_each() -> None:
    titles = [section.title for section in FINDINGS.sections if section.level == 2]
    assert sorted(titles) == sorted(code.finding_kinds().values())
    table = [code_spans(row[0])[0] for row in rows(FINDINGS.text)]
    assert table == titles


def test_findings_severities() -> None:
    of_table = {code_spans(row[0])[0]: row[1] for row in rows(FINDINGS.text)}
    of_code = {code.finding_kinds()[name]: grave for name, grave in code.severities().items()}
    assert {kind: set(cell.split(" or ")) for kind, cell in of_table.items()} == of_code
    for kind, grave in of_code.items():
        said = FINDINGS.section(kind).text.strip().split("**Evidence")[0]
        assert {word for word in ("critical", "warning", "info") if word in said} == grave, kind


def test_findings_evidence() -> None:
    for kind, fields in code.evidence().items():
        line = FINDINGS.section(kind).text.strip().splitlines()[0]
        said = code_spans(line.split("**Evidence:**")[1])
        assert sorted(said) == sorted(fields), kind


def test_errors_have_a_section_each() -> None:
    titles = [section.title for section in ERRORS.sections if section.level == 2]
    assert sorted(titles) == sorted(code.errors())
    assert [code_spans(row[0])[0] for row in rows(ERRORS.text)] == titles


def test_metrics_and_their_units() -> None:
    table = METRICS.sections[0].text
    assert {plain(row[0]): row[1] for row in rows(table)} == code.metrics()


def test_alarms() -> None:
    listed = [plain(row[0]) for row in rows(METRICS.section("Alarms").text)]
    assert sorted(listed) == sorted(code.resources_of("AWS::CloudWatch::Alarm"))
    alarms = {name: code.template()["Resources"][name]["Properties"] for name in listed}
    for row in rows(METRICS.section("Alarms").text):
        alarm = alarms[plain(row[0])]
        assert alarm["MetricName"] in code_spans(row[1])
        assert bool(row[3]) == ("OKActions" in alarm)


def test_alarms_are_explained() -> None:
    explained = Page("docs/troubleshooting.md").section("Alarms").text
    names = {name for row in rows(explained) for name in code_spans(row[0])}
    alarms = code.resources_of("AWS::CloudWatch::Alarm")
    assert names == {name.removesuffix("Alarm") for name in alarms}


def test_tags() -> None:
    table = rows(TAGS.section("Tags that this project writes").text)
    listed = [re.sub(r"<\w+>$", "", plain(row[0])) for row in table]
    assert sorted(listed) == sorted(code.own_tags())


def test_permissions() -> None:
    roles = {
        "converge": "ConvergeFunction",
        "audit": "AuditFunction",
        "restore": "RestoreFunction",
        "verify": "VerifyFunction",
        "The role that EventBridge Scheduler assumes": "SchedulesRole",
    }
    for title, resource in roles.items():
        listed: dict[str, set[str]] = {}
        for row in rows(PERMISSIONS.section(title).text):
            actions = {span for span in code_spans(row[1]) if ":" in span}
            for sid in code_spans(row[0]):
                listed[sid] = actions
        assert listed == code.statements(resource), title


def test_the_functions_that_schedules_invoke() -> None:
    row = next(row for row in rows(PERMISSIONS.text) if row[0] == "`Invoke`")
    targets = {
        resource["Properties"]["Target"]["Arn"]["GetAtt"]
        for resource in code.template()["Resources"].values()
        if resource["Type"] == "AWS::Scheduler::Schedule"
    }
    functions = {target.removesuffix("Function.Arn").lower() for target in targets}
    assert set(re.split(r", | and ", row[2])) == functions


def test_the_tags_that_verify_may_write() -> None:
    statement = code.statement("VerifyFunction", "WriteVerdicts")
    keys = statement["Condition"]["ForAllValues:StringEquals"]["aws:TagKeys"]
    table = rows(VERIFY.section("Where the verdict stands").text)
    assert sorted(plain(row[0]) for row in table) == sorted(keys)
    number = {5: "five", 6: "six", 7: "seven"}[len(keys)]
    assert f"writing these {number} tags" in VERIFY.text
    assert f"verify's own {number} keys" in PERMISSIONS.text
    assert f"writes {number} tags of its own" in Page("docs/security.md").text


def test_every_function_has_its_permissions_listed() -> None:
    functions = code.resources_of("AWS::Serverless::Function")
    titles = {title.lower() for title in PERMISSIONS.titles}
    assert {name.removesuffix("Function").lower() for name in functions} <= titles


def test_the_events_of_restore() -> None:
    listed = [plain(row[0]) for row in rows(EVENTS.section("restore").text)]
    fields = code.struct_fields("functions/restore/src/event.rs", "Request")
    assert sorted(listed) == sorted(set(fields) - {"cluster"})
    of_volume = code.struct_fields("functions/restore/src/event.rs", "VolumeOption")
    actions = code.enum_variants("functions/restore/src/event.rs", "Action")
    said = {plain(row[0]): set(code_spans(row[2])) for row in rows(EVENTS.section("restore").text)}
    assert set(of_volume) <= said["volume"]
    assert set(actions) <= said["action"]


def test_the_fields_of_answers() -> None:
    restore = "functions/restore/src/show"
    answers = {
        "converge": [("functions/converge/src/answer.rs", "Answer")],
        "audit": [
            ("functions/audit/src/report.rs", "Report"),
            ("functions/audit/src/report.rs", "Summary"),
            ("functions/audit/src/report.rs", "ClusterReport"),
        ],
        "The answer of plan, restore, status, undo and redo": [
            (f"{restore}/answer.rs", "RestoreAnswer"),
            (f"{restore}/answer.rs", "RestorePoint"),
            (f"{restore}/answer.rs", "MemberAnswer"),
            (f"{restore}/answer.rs", "MastersAnswer"),
            (f"{restore}/answer.rs", "FoundAnswer"),
        ],
        "The answer of list": [
            (f"{restore}/list.rs", "ListAnswer"),
            (f"{restore}/list.rs", "ListedRun"),
            (f"{restore}/list.rs", "ListedSnapshot"),
        ],
        "The answer of history": [(f"{restore}/history.rs", "PastRestore")],
    }
    # Said once, of all answers.
    said_of_all = {"text", "action", "cluster"}
    for title, structs in answers.items():
        said = set(code_spans(EVENTS.section(title).text)) | said_of_all
        for path, struct in structs:
            missing = set(code.struct_fields(path, struct)) - said
            assert not missing, f"{title}: {struct}"
