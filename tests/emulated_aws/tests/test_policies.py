"""Policy documents, judged without an AWS around them."""

from typing import Any

import pytest

from ..permissions.documents import read_document

GROUP = "arn:aws:autoscaling:eu-west-2:123456789012:autoScalingGroup:0a-1b:autoScalingGroupName/master-a"
VOLUME = "arn:aws:ec2:eu-west-2:123456789012:volume/vol-1"
TAG = "aws:ResourceTag/k8s.io/role/master"
ARN = "iam:PolicyARN"
KEYS = "aws:TagKeys"


def statement(**elements: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": "ec2:CreateTags", "Resource": "*", **elements}


def document(**elements: Any) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [statement(**elements)]}


def applies(document: Any, action: str = "ec2:CreateTags", resource: str = VOLUME, **context: Any) -> bool:
    (read,) = read_document(document)
    return read.applies_to(action, resource, context)


def holds(condition: dict[str, Any], context: dict[str, list[str]]) -> bool:
    values = {key.lower(): tuple(of_key) for key, of_key in context.items()}
    return applies(document(Condition=condition), **values)


@pytest.mark.parametrize(
    ("pattern", "action", "covered"),
    [
        ("ec2:CreateTags", "ec2:CreateTags", True),
        ("EC2:createtags", "ec2:CreateTags", True),
        ("ec2:CreateTag", "ec2:CreateTags", False),
        ("ec2:Create*", "ec2:CreateTags", True),
        ("ec2:*Tags", "ec2:DeleteTags", True),
        ("ec2:?reateTags", "ec2:CreateTags", True),
        ("ec2:?CreateTags", "ec2:CreateTags", False),
        ("ec2:*", "iam:CreateRole", False),
        ("*", "iam:CreateRole", True),
        (["iam:GetRole", "ec2:CreateTags"], "ec2:CreateTags", True),
    ],
)
def test_actions(pattern: Any, action: str, covered: bool) -> None:
    assert applies(document(Action=pattern), action=action) is covered


@pytest.mark.parametrize(
    ("pattern", "resource", "covered"),
    [
        ("*", "*", True),
        ("*", VOLUME, True),
        (VOLUME, VOLUME, True),
        (VOLUME, VOLUME + "2", False),
        (VOLUME.upper().replace("ARN", "arn"), VOLUME, False),
        (VOLUME.replace("vol-1", "*"), VOLUME, True),
        (VOLUME.replace("vol-1", "*"), "*", False),
        (VOLUME.replace("vol-1", "vol-?"), VOLUME, True),
        (VOLUME.replace("vol-1", "vol-?"), VOLUME + "2", False),
        (VOLUME.replace("volume", "snapshot"), VOLUME, False),
        (VOLUME.replace("123456789012", "*"), VOLUME, True),
        (GROUP.replace("0a-1b", "*").replace("master-a", "*"), GROUP, True),
        (GROUP.replace("0a-1b", "*").replace("master-a", "b*"), GROUP, False),
        # Only a * at the end of a part reaches beyond it.
        (GROUP.replace("autoScalingGroup:0a-1b", "*"), GROUP, True),
        ("arn:aws:autoscaling:*:*:autoScaling*", GROUP, True),
        (GROUP.replace("ScalingGroup:0a-1b:autoScalingGroupName", "*"), GROUP, False),
        ("arn:aws:autoscaling:*:*:autoScalingGroup?0a-1b:*", GROUP, False),
        (["arn:aws:ec2:*:*:instance/*", "arn:aws:ec2:*:*:volume/*"], VOLUME, True),
    ],
)
def test_resources(pattern: Any, resource: str, covered: bool) -> None:
    assert applies(document(Resource=pattern), resource=resource) is covered


@pytest.mark.parametrize(
    ("condition", "context", "expected"),
    [
        ({"StringEquals": {TAG: "1"}}, {TAG: ["1"]}, True),
        ({"StringEquals": {TAG: "1"}}, {TAG: ["2"]}, False),
        ({"StringEquals": {TAG: "1"}}, {}, False),
        ({"StringEquals": {TAG: ["0", "1"]}}, {TAG: ["1"]}, True),
        ({"StringEquals": {TAG: "a"}}, {TAG: ["A"]}, False),
        ({"StringEquals": {TAG: "*"}}, {TAG: ["a"]}, False),
        ({"StringEquals": {TAG.upper(): "1"}}, {TAG: ["1"]}, True),
        ({"StringEqualsIfExists": {TAG: "1"}}, {}, True),
        ({"StringEqualsIfExists": {TAG: "1"}}, {TAG: ["2"]}, False),
        ({"StringEqualsIgnoreCase": {TAG: "aB"}}, {TAG: ["Ab"]}, True),
        ({"StringEqualsIgnoreCase": {TAG: "a"}}, {TAG: ["b"]}, False),
        ({"StringEqualsIgnoreCase": {TAG: "a"}}, {}, False),
        ({"StringNotEquals": {TAG: "1"}}, {TAG: ["2"]}, True),
        ({"StringNotEquals": {TAG: ["1", "2"]}}, {TAG: ["2"]}, False),
        ({"StringNotEquals": {TAG: "1"}}, {}, True),
        ({"StringNotEqualsIfExists": {TAG: "1"}}, {TAG: ["1"]}, False),
        ({"StringLike": {TAG: "a*c?"}}, {TAG: ["abbcd"]}, True),
        ({"StringLike": {TAG: "a*c?"}}, {TAG: ["abbc"]}, False),
        ({"StringLike": {TAG: "a.c"}}, {TAG: ["abc"]}, False),
        ({"StringLike": {TAG: "*"}}, {}, False),
        ({"ArnEquals": {ARN: "arn:aws:iam::1:policy/p"}}, {ARN: ["arn:aws:iam::1:policy/p"]}, True),
        ({"ArnEquals": {ARN: "arn:aws:iam::1:policy/p*"}}, {ARN: ["arn:aws:iam::1:policy/pq"]}, True),
        ({"ArnEquals": {ARN: "arn:aws:iam::1:policy/p"}}, {ARN: ["arn:aws:iam::1:policy/q"]}, False),
        ({"ArnLike": {ARN: "arn:*:iam::*:policy/p"}}, {ARN: ["arn:aws:iam::1:policy/p"]}, True),
        ({"ArnLike": {ARN: "arn:*:*:policy/p::"}}, {ARN: ["arn:aws:iam::1:policy/p"]}, False),
        ({"ArnLike": {ARN: "arn:*:iam::*:policy/p"}}, {ARN: ["arn:aws:iam"]}, False),
        ({"ArnLike": {ARN: "arn:*:iam::*:policy/p"}}, {}, False),
        ({"Bool": {TAG: "true"}}, {TAG: ["True"]}, True),
        ({"Bool": {TAG: True}}, {TAG: ["false"]}, False),
        ({"Bool": {TAG: "false"}}, {}, False),
        ({"BoolIfExists": {TAG: "false"}}, {}, True),
        ({"Null": {TAG: "true"}}, {}, True),
        ({"Null": {TAG: "true"}}, {TAG: ["1"]}, False),
        ({"Null": {TAG: "false"}}, {TAG: [""]}, True),
        ({"Null": {TAG: False}}, {}, False),
        ({"Null": {KEYS: "false"}}, {KEYS: ["a", "b"]}, True),
        ({"ForAllValues:StringEquals": {KEYS: ["a", "b"]}}, {KEYS: ["a"]}, True),
        ({"ForAllValues:StringEquals": {KEYS: ["a", "b"]}}, {KEYS: ["a", "c"]}, False),
        ({"ForAllValues:StringEquals": {KEYS: ["a", "b"]}}, {}, True),
        ({"ForAllValues:StringLike": {KEYS: "a/*"}}, {KEYS: ["a/b", "a/c"]}, True),
        ({"ForAllValues:StringNotEquals": {KEYS: ["a", "b"]}}, {KEYS: ["c", "a"]}, False),
        ({"ForAnyValue:StringEquals": {KEYS: ["a", "b"]}}, {KEYS: ["c", "a"]}, True),
        ({"ForAnyValue:StringEquals": {KEYS: ["a", "b"]}}, {KEYS: ["c"]}, False),
        ({"ForAnyValue:StringEquals": {KEYS: ["a", "b"]}}, {}, False),
        ({"ForAnyValue:StringEqualsIfExists": {KEYS: "a"}}, {}, True),
        ({"ForAnyValue:StringNotEquals": {KEYS: "a"}}, {KEYS: ["a", "b"]}, True),
        ({"ForAnyValue:StringNotEquals": {KEYS: "a"}}, {}, False),
        # All operators and all keys have to hold.
        ({"StringEquals": {TAG: "1"}, "Null": {ARN: "true"}}, {TAG: ["1"]}, True),
        ({"StringEquals": {TAG: "1"}, "Null": {ARN: "false"}}, {TAG: ["1"]}, False),
        ({"StringEquals": {TAG: "1", ARN: "a"}}, {TAG: ["1"]}, False),
        ({}, {}, True),
    ],
)
def test_conditions(condition: Any, context: Any, expected: bool) -> None:
    assert holds(condition, context) is expected


def test_one_statement_needs_no_list() -> None:
    assert applies({"Statement": statement(), "Id": "p"})


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ([], "object"),
        ({"Version": "2012-10-17"}, "Statement"),
        ({"Version": "2020-01-01", "Statement": []}, "2020-01-01"),
        ({"Statement": [], "Policy": {}}, "Policy"),
        ({"Statement": [7]}, "7"),
        (document(Sid=["a"]), "Sid"),
        (document(Effect="Permit"), "Permit"),
        (document(NotAction="ec2:*"), "NotAction"),
        (document(NotResource="*"), "NotResource"),
        (document(Principal="*"), "Principal"),
        (document(Action=[]), "action"),
        (document(Action="CreateTags"), "CreateTags"),
        (document(Resource={"Ref": "Topic"}), "Topic"),
        (document(Resource="vol-1"), "vol-1"),
        (document(Resource="arn:aws:iam::1:user/${aws:username}"), "variables"),
        (document(Condition=[]), "Condition"),
        (document(Condition={"StringEquals": []}), "StringEquals"),
        (document(Condition={"NumericEquals": {}}), "NumericEquals"),
        (document(Condition={"NumericEquals": {TAG: "1"}}), "NumericEquals"),
        (document(Condition={"StringNotLike": {TAG: "1"}}), "StringNotLike"),
        (document(Condition={"Some:StringEquals": {TAG: "1"}}), "Some"),
        (document(Condition={"NullIfExists": {TAG: "true"}}), "NullIfExists"),
        (document(Condition={"ForAnyValue:Null": {KEYS: "true"}}), "ForAnyValue"),
        (document(Condition={"Null": {TAG: ["true", "false"]}}), "2 values"),
        (document(Condition={"Null": {TAG: "yes"}}), "yes"),
        (document(Condition={"Bool": {TAG: "1"}}), "Bool"),
        (document(Condition={"StringEquals": {TAG: []}}), "0 values"),
        (document(Condition={"StringEquals": {TAG: 1}}), "1"),
        (document(Condition={"StringEquals": {KEYS: "a"}}), "ForAllValues"),
        (document(Condition={"StringEquals": {"aws:ResourceTag/": "a"}}), "aws:ResourceTag/"),
        (document(Condition={"StringEquals": {"aws:PrincipalArn": "a"}}), "aws:PrincipalArn"),
        (document(Condition={"StringEquals": {"kms:ViaService": "a"}}), "kms:ViaService"),
        (document(Condition={"StringEquals": {"aws:ResourceTag/${aws:username}": "a"}}), "variables"),
        (document(Condition={"ArnLike": {ARN: "arn:aws:iam::*"}}), "six parts"),
    ],
)
def test_what_can_not_be_evaluated_is_refused(bad: Any, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        read_document(bad)


def test_the_statement_at_fault_is_named() -> None:
    with pytest.raises(ValueError, match="statement Tagging: .*NumericEquals"):
        read_document(document(Sid="Tagging", Condition={"NumericEquals": {TAG: "1"}}))
