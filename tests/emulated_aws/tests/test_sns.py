"""Messages published to topics."""

from typing import Any

import pytest

from .fresh_aws import Aws, code_of


@pytest.fixture
def topic(aws: Aws) -> str:
    return aws.client("sns").create_topic(Name="alerts")["TopicArn"]


def publish(aws: Aws, topic: str, **more: Any) -> Any:
    return aws.client("sns").publish(TopicArn=topic, Message="m", **more)


def test_messages_are_read_back(aws: Aws, topic: str) -> None:
    attributes = {
        "severity": {"DataType": "String", "StringValue": "critical"},
        "clusters": {"DataType": "String.Array", "StringValue": '["a", "b"]'},
    }
    answer = publish(aws, topic, Subject="s" * 100, MessageAttributes=attributes)
    publish(aws, topic)
    first, second = aws.get("sns/messages")["messages"]
    assert first == {
        "topic_arn": topic,
        "subject": "s" * 100,
        "message": "m",
        "attributes": {"severity": "critical", "clusters": ["a", "b"]},
        "message_id": answer["MessageId"],
    }
    assert (second["subject"], second["attributes"]) == (None, {})
    aws.delete("sns/messages")
    assert aws.get("sns/messages")["messages"] == []


@pytest.mark.parametrize("subject", ["s" * 101, "two\nlines", "café", " leading", ""])
def test_refused_subjects(aws: Aws, topic: str, subject: str) -> None:
    client = aws.client("sns")
    assert code_of(client.publish, TopicArn=topic, Message="m", Subject=subject) == "InvalidParameter"
    assert aws.get("sns/messages")["messages"] == []


def test_refused_attributes_and_topics(aws: Aws, topic: str) -> None:
    client = aws.client("sns")
    bad = {"clusters": {"DataType": "String.Array", "StringValue": "a, b"}}
    assert code_of(client.publish, TopicArn=topic, Message="m", MessageAttributes=bad) == "InvalidParameter"
    assert code_of(client.publish, TopicArn=topic + "x", Message="m") == "NotFound"
    assert code_of(client.publish, TopicArn=topic, Message="") == "InvalidParameter"
