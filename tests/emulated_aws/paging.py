"""Pages of DescribeVolumes and DescribeSnapshots.

A token holds the sequence number of the last resource given, so that resources deleted
or created between two pages shift nothing.

Invariant: no page is larger than the setting `page_size_max`, whatever is asked for;
only a request by ids, which EC2 does not page, is answered whole.
"""

import base64
import binascii
from typing import Any

from moto.ec2.exceptions import EC2ClientError

from .settings import settings

MAX_RESULTS_MIN = 5


def check(max_results: int | None, ids: list[str], ids_name: str) -> None:
    """Refuse a page size that EC2 refuses."""
    if max_results is None:
        return
    if ids:
        message = f"The parameter {ids_name} cannot be used with the parameter maxResults"
        raise EC2ClientError("InvalidParameterCombination", message)
    if max_results < MAX_RESULTS_MIN:
        message = (
            f"Value ( {max_results} ) for parameter maxResults is invalid. "
            f"Expecting a value greater than or equal to {MAX_RESULTS_MIN}."
        )
        raise EC2ClientError("InvalidParameterValue", message)


def page(resources: list[Any], max_results: int | None, token: str | None) -> tuple[list[Any], str | None]:
    """One page of `resources`, which are in order of their `sequence`, and the next token."""
    after = _decode(token) if token else -1
    rest = [resource for resource in resources if resource.sequence > after]
    size = min(max_results or settings.page_size_max, settings.page_size_max)
    if len(rest) <= size:
        return rest, None
    return rest[:size], _encode(rest[size - 1].sequence)


def _encode(sequence: int) -> str:
    return base64.urlsafe_b64encode(f"after-{sequence}".encode()).decode()


def _decode(token: str) -> int:
    try:
        word, _, sequence = base64.urlsafe_b64decode(token.encode()).decode().partition("-")
        if word == "after":
            return int(sequence)
    except (binascii.Error, UnicodeError, ValueError):
        pass
    raise EC2ClientError("InvalidPaginationToken", "The pagination token is invalid.")
