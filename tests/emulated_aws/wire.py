"""Answers as AWS puts them on the wire: request ids and error bodies per protocol."""

import json
import re
import uuid
from dataclasses import dataclass, replace
from xml.sax.saxutils import escape

from .operations import Operation

_REQUEST_ID = re.compile(rb"<(requestId|RequestId|RequestID)(?:/>|>[^<]*</\1>)")
_XML_CODE = re.compile(rb"<Code>([^<]*)</Code>")


class ConnectionCut(ConnectionError):
    """The request is to end without an answer."""


@dataclass(frozen=True)
class Answer:
    """A whole HTTP answer."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)


def new_request_id() -> str:
    return str(uuid.uuid4())


def with_request_id(answer: Answer, request_id: str) -> Answer:
    """The answer with its own request id in header and, where it is XML, in the body."""
    body = answer.body
    if body.lstrip()[:1] == b"<":
        element = rb"<\1>" + request_id.encode() + rb"</\1>"
        body = _REQUEST_ID.sub(element, body, count=1)
    dropped = {"x-amzn-requestid", "content-length", "date", "connection"}
    headers = [(key, value) for key, value in answer.headers if key.lower() not in dropped]
    return replace(answer, headers=[*headers, ("x-amzn-RequestId", request_id)], body=body)


def error(operation: Operation, status: int, code: str, message: str) -> Answer:
    """An error in the protocol of the service asked."""
    if operation.protocol == "ec2":
        return _xml(
            status,
            f"<Response><Errors><Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message>"
            "</Error></Errors><RequestID></RequestID></Response>",
        )
    if operation.protocol in ("query", "rest-xml"):
        side = "Sender" if status < 500 else "Receiver"
        return _xml(
            status,
            f"<ErrorResponse><Error><Type>{side}</Type><Code>{escape(code)}</Code>"
            f"<Message>{escape(message)}</Message></Error><RequestId></RequestId></ErrorResponse>",
        )
    body = json.dumps({"__type": code, "message": message, "Message": message, "Code": code})
    headers = [("Content-Type", "application/json"), ("x-amzn-ErrorType", code)]
    return Answer(status, headers, body.encode())


def error_code(answer: Answer) -> str | None:
    """The code of an error answer, whatever its protocol."""
    if answer.status < 400:
        return None
    if code := answer.header("x-amzn-errortype"):
        return code
    if match := _XML_CODE.search(answer.body):
        return match.group(1).decode()
    try:
        return str(json.loads(answer.body)["__type"]).split("#")[-1]
    except (ValueError, KeyError, TypeError):
        return None


def _xml(status: int, body: str) -> Answer:
    text = f'<?xml version="1.0" encoding="UTF-8"?>{body}'
    return Answer(status, [("Content-Type", "text/xml;charset=UTF-8")], text.encode())
