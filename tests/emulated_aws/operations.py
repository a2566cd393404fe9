"""Recognising a request: which service, which operation, which parameters.

Everything is read from botocore's service models, so any service that moto serves is
recognised; what is not is passed on to moto with an empty operation.
"""

import io
import re
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from botocore.exceptions import UnknownServiceError
from botocore.model import OperationModel, OperationNotFoundError
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import Request, determine_request_protocol
from moto.core.routing import NotFound, get_service_router
from moto.core.utils import get_service_model

_READS = re.compile(r"(Describe|Get|List|Query|Scan|BatchGet)")

# A version 4 signature: the access key, and the Region and service of its scope.
_SIGNED = re.compile(r"Credential=([^/]+)/\d+/([^/]+)/([^/]+)/aws4_request")

# How often the SDK has tried, by its own count.
_ATTEMPT = re.compile(r"\battempt=(\d+)")

# Where the name that requests are signed for is not botocore's name of the service.
_MODEL_BY_SIGNING_NAME = {"monitoring": "cloudwatch", "elasticloadbalancing": "elbv2"}


@dataclass(frozen=True)
class Operation:
    """One request; `protocol` as botocore names it (ec2, query, json, rest-json, ...)."""

    service: str
    name: str
    protocol: str = "query"
    parameters: dict[str, Any] = field(default_factory=dict)
    access_key_id: str = ""
    region: str = ""
    attempt: int = 1

    @property
    def is_write(self) -> bool:
        return _READS.match(self.name) is None


def recognise(environ: dict[str, Any], body: bytes) -> Operation:
    """The operation that a request asks for."""
    signed = _SIGNED.search(environ.get("HTTP_AUTHORIZATION", ""))
    if not signed:
        return Operation("unknown", "Unknown")
    access_key_id, region, service = signed.groups()
    operation = _operation_of(service.lower(), environ, body)
    attempt = _ATTEMPT.search(environ.get("HTTP_AMZ_SDK_REQUEST", ""))
    return replace(
        operation,
        access_key_id=access_key_id,
        region=region,
        attempt=int(attempt.group(1)) if attempt else 1,
    )


def _operation_of(service: str, environ: dict[str, Any], body: bytes) -> Operation:
    try:
        model = get_service_model(_MODEL_BY_SIGNING_NAME.get(service, service))
    except UnknownServiceError:
        return Operation(service, "Unknown")
    request = Request({**environ, "wsgi.input": io.BytesIO(body)})
    protocol = determine_request_protocol(model, request.content_type)
    name, uri_parameters = _operation_name(model.service_name, request)
    try:
        operation_model = model.operation_model(name)
    except OperationNotFoundError:
        return Operation(service, name or "Unknown", protocol)
    parameters = _parse(operation_model, protocol, request, uri_parameters)
    return Operation(service, name, protocol, _plain(parameters))


def _parse(
    model: OperationModel, protocol: str, request: Request, uri_parameters: dict[str, Any]
) -> dict[str, Any]:
    content = {
        "method": request.method,
        "values": request.values,
        "headers": request.headers,
        "body": request.data,
        "url_path": request.path,
        "url_params": uri_parameters,
    }
    try:
        return PROTOCOL_PARSERS[protocol](model, map_type=dict).parse(content) or {}
    except Exception as malformed:  # to refuse it is the service's part
        return {**uri_parameters, "malformed": str(malformed)}


def _operation_name(service: str, request: Request) -> tuple[str, dict[str, Any]]:
    if "Action" in request.values:
        return request.values["Action"], {}
    if "X-Amz-Target" in request.headers:
        return request.headers["X-Amz-Target"].split(".")[-1], {}
    try:
        operation, uri_parameters = get_service_router(service).match(request)
    except (NotFound, NotImplementedError):
        return "", {}
    return operation.name, dict(uri_parameters)


def _plain(value: Any) -> Any:
    """The same in types that JSON has."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value
