"""Messages published to topics."""

import json
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
        "by_protocol": None,
        "attributes": {"severity": "critical", "clusters": ["a", "b"]},
        "message_id": answer["MessageId"],
    }
    assert (second["subject"], second["attributes"]) == (None, {})
    aws.delete("sns/messages")
    assert aws.get("sns/messages")["messages"] == []


def test_a_message_may_differ_by_protocol(aws: Aws, topic: str) -> None:
    client = aws.client("sns")
    texts = {"default": "for people", "https": '{"version": "1.0"}', "lambda": 1}
    client.publish(TopicArn=topic, Message=json.dumps(texts), MessageStructure="json")
    (message,) = aws.get("sns/messages")["messages"]
    assert message["message"] == "for people"
    assert message["by_protocol"] == {"default": "for people", "https": '{"version": "1.0"}'}
    for wrong in ("m", "[]", '{"https": "x"}', '{"default": {}}'):
        refused = code_of(client.publish, TopicArn=topic, Message=wrong, MessageStructure="json")
        assert refused == "InvalidParameter", wrong


def test_attributes_count_among_a_messages_size(aws: Aws, topic: str) -> None:
    client = aws.client("sns")
    attributes = {"severity": {"DataType": "String", "StringValue": "critical"}}
    size = len("severityStringcritical")
    publish(aws, topic)
    client.publish(TopicArn=topic, Message="m" * (256 * 1024 - size), MessageAttributes=attributes)
    too_long = "m" * (256 * 1024 - size + 1)
    refused = code_of(client.publish, TopicArn=topic, Message=too_long, MessageAttributes=attributes)
    assert refused == "InvalidParameter"


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
