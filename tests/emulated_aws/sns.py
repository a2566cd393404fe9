"""SNS: messages that can be read back, and the rules for them that moto leaves out."""

import json
from typing import Any

from moto.sns.exceptions import SNSInvalidParameter
from moto.sns.models import SNSBackend

from .patching import wrap

SUBJECT_LENGTH_MAX = 100
# Attributes count among it, which moto passes over.
MESSAGE_BYTES_MAX = 256 * 1024


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
        given = kwargs.get("message_attributes") or {}
        attributes = _plain_attributes(given)
        _check_size(message, given)
        by_protocol = _by_protocol(message) if kwargs.get("message_structure") == "json" else None
        message_id = moto_publish(self, message, arn, *args, **kwargs)
        messages.add(
            {
                "topic_arn": arn,
                "subject": subject,
                "message": by_protocol["default"] if by_protocol else message,
                "by_protocol": by_protocol,
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


def _check_size(message: str, attributes: dict[str, dict[str, str]]) -> None:
    parts = [message]
    for name, attribute in attributes.items():
        parts += [name, attribute["Type"], attribute["Value"]]
    if sum(len(part.encode()) for part in parts) > MESSAGE_BYTES_MAX:
        raise SNSInvalidParameter("Invalid parameter: Message too long")


def _by_protocol(message: str) -> dict[str, str]:
    """What each protocol's subscribers get, all that aren't named the default."""
    try:
        texts = json.loads(message)
    except ValueError:
        texts = None
    if not isinstance(texts, dict):
        raise SNSInvalidParameter(
            "Invalid parameter: Message Structure - JSON message body failed to parse"
        )
    if not isinstance(texts.get("default"), str):
        raise SNSInvalidParameter(
            "Invalid parameter: Message Structure - No default entry in JSON message body"
        )
    # Anything but a string is ignored.
    return {protocol: text for protocol, text in texts.items() if isinstance(text, str)}


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
