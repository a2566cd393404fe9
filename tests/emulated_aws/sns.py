"""SNS: messages that can be read back, and the rules for them that moto leaves out."""

import json
from typing import Any

from moto.sns.exceptions import SNSInvalidParameter
from moto.sns.models import SNSBackend

from .patching import wrap

SUBJECT_LENGTH_MAX = 100


class PublishedMessages:
    """What was published to topics, in order."""

    def __init__(self) -> None:
        self._messages: list[dict[str, Any]] = []

    def clear(self) -> None:
        self._messages = []

    def add(self, message: dict[str, Any]) -> None:
        self._messages.append(message)

    def to_list(self) -> list[dict[str, Any]]:
        return list(self._messages)


messages = PublishedMessages()


def _checked_and_kept(moto_publish: Any) -> Any:
    def publish(self: SNSBackend, message: str, arn: str | None, *args: Any, **kwargs: Any) -> str:
        subject = kwargs.get("subject")
        _check_subject(subject)
        if not message:
            raise SNSInvalidParameter("Invalid parameter: Empty message")
        attributes = _plain_attributes(kwargs.get("message_attributes") or {})
        message_id = moto_publish(self, message, arn, *args, **kwargs)
        messages.add(
            {
                "topic_arn": arn,
                "subject": subject,
                "message": message,
                "attributes": attributes,
                "message_id": message_id,
            }
        )
        return message_id

    return publish


def _check_subject(subject: str | None) -> None:
    """ASCII text without control characters that does not start with a space."""
    if subject is None:
        return
    printable = subject.isascii() and subject.isprintable()
    if not printable or not subject or subject[0] == " " or len(subject) > SUBJECT_LENGTH_MAX:
        raise SNSInvalidParameter("Invalid parameter: Subject")


def _plain_attributes(attributes: dict[str, dict[str, str]]) -> dict[str, Any]:
    return {name: _plain_attribute(name, attribute) for name, attribute in attributes.items()}


def _plain_attribute(name: str, attribute: dict[str, str]) -> Any:
    if attribute["Type"] != "String.Array":
        return attribute["Value"]
    try:
        values = json.loads(attribute["Value"])
    except ValueError:
        values = None
    if not isinstance(values, list):
        raise SNSInvalidParameter(
            f"Invalid parameter: The value of message attribute '{name}' is not an array"
        )
    return values


def install() -> None:
    wrap(SNSBackend, "publish", _checked_and_kept)
