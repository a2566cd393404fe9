"""Which access keys are restricted to what, and what came of it.

Invariants:
- A call that is denied has changed nothing.
- A call of which it is not known what it needs is denied, and says so.
"""

from collections.abc import Iterable
from typing import Any

from .. import wire
from ..operations import Operation
from ..wire import Answer
from .documents import Statement, read_document
from .needs import ACCOUNT, Need, needs_of

_EXPLICITLY = "with an explicit deny in an identity-based policy"


class Permissions:
    """The statements in force by access key, and what they allowed and denied."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.lift()
        self.forget()

    def lift(self) -> None:
        """No key is restricted any more."""
        self._statements: dict[str, list[Statement]] = {}

    def forget(self) -> None:
        # Dictionaries for their keys, which stay in order.
        self._used: dict[tuple[str, str | None, str, str], None] = {}
        self._denied: dict[tuple[str, str, str | None, str], None] = {}

    def enforce(self, access_key_id: Any, documents: Any) -> None:
        """In place of what was in force for the key. ValueError says what can't be evaluated."""
        if not isinstance(access_key_id, str) or not access_key_id:
            raise ValueError(f"access_key_id must be a string, not {access_key_id!r}")
        if not isinstance(documents, list):
            raise ValueError(f"policies must be a list of documents, not {documents!r}")
        statements = [statement for document in documents for statement in read_document(document)]
        self._statements[access_key_id] = statements

    def refusal(self, operation: Operation) -> Answer | None:
        """What a denied call is answered; None where it is allowed."""
        statements = self._statements.get(operation.access_key_id)
        if statements is None:
            return None
        try:
            needs = needs_of(operation)
        except Exception as unknown:  # whatever it is, the call must not pass
            return self._refuse_unknown(operation, unknown)
        found = [(need, [one for one in statements if one.applies_to(*need)]) for need in needs]
        denied = [(need, applying) for need, applying in found if not _is_allowed(applying)]
        if not denied:
            self._note_used(operation, found)
            return None
        for need, _ in denied:
            self._denied[operation.access_key_id, need.action, need.resource, operation.name] = None
        return _refusal(operation, *denied[0])

    def to_dict(self) -> dict[str, Any]:
        used = ("access_key_id", "sid", "action", "resource")
        denied = ("access_key_id", "action", "resource", "operation")
        return {
            "used": [dict(zip(used, one, strict=True)) for one in self._used],
            "denied": [dict(zip(denied, one, strict=True)) for one in self._denied],
        }

    def _note_used(self, operation: Operation, found: Iterable[tuple[Need, list[Statement]]]) -> None:
        for need, applying in found:
            for statement in applying:
                self._used[operation.access_key_id, statement.sid, need.action, need.resource] = None

    def _refuse_unknown(self, operation: Operation, unknown: Exception) -> Answer:
        name = f"{operation.service}:{operation.name}"
        self._denied[operation.access_key_id, name, None, operation.name] = None
        message = f"The emulated AWS can't tell what {name} needs: {type(unknown).__name__}: {unknown}"
        # No client tries again what is not implemented.
        return wire.error(operation, 501, "InternalError", message)


permissions = Permissions()


def _is_allowed(applying: list[Statement]) -> bool:
    return bool(applying) and all(statement.allows for statement in applying)


def _refusal(operation: Operation, need: Need, applying: list[Statement]) -> Answer:
    user = f"arn:aws:sts::{ACCOUNT}:assumed-role/emulated/{operation.access_key_id}"
    by_default = f"because no identity-based policy allows the {need.action} action"
    message = (
        f"User: {user} is not authorized to perform: {need.action} on resource: {need.resource} "
        f"{_EXPLICITLY if applying else by_default}"
    )
    if operation.service == "ec2":
        message = f"You are not authorized to perform this operation. {message}"
    return wire.error(operation, 403, _code(operation), message)


def _code(operation: Operation) -> str:
    if operation.service == "ec2":
        return "UnauthorizedOperation"
    if operation.service == "sns":
        return "AuthorizationError"
    return "AccessDenied" if operation.protocol in ("query", "rest-xml") else "AccessDeniedException"
