"""Refusing ids that EC2 does not know."""

import re
from collections.abc import Container

from moto.ec2.exceptions import EC2ClientError

# Prefix of the id, code where it is malformed, code where there is no such resource.
_KINDS = {
    "volume": ("vol", "InvalidParameterValue", "InvalidVolume.NotFound"),
    "snapshot": ("snap", "InvalidSnapshotID.Malformed", "InvalidSnapshot.NotFound"),
}


def refuse_unknown(kind: str, ids: list[str], known: Container[str]) -> None:
    """`kind` is volume or snapshot."""
    prefix, malformed, not_found = _KINDS[kind]
    for id in ids:
        if not re.fullmatch(rf"{prefix}-[0-9a-f]{{8,17}}", id):
            message = f"Value ({id}) for parameter {kind}Id is invalid. Expected: '{prefix}-...'."
            raise EC2ClientError(malformed, message)
    unknown = [id for id in ids if id not in known]
    if len(unknown) == 1:
        raise EC2ClientError(not_found, f"The {kind} '{unknown[0]}' does not exist.")
    if unknown:
        raise EC2ClientError(not_found, f"The {kind}s '{', '.join(unknown)}' do not exist.")
