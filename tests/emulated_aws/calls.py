"""The log of calls: what a test asserts on after the fact.

A call that was lost (by a planted fault) is logged with no status.
"""

from datetime import datetime
from typing import Any

from .clock import format_rfc3339
from .operations import Operation


class CallLog:
    """Calls in the order in which they ended."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the calls and number from 1 again."""
        self._calls: list[dict[str, Any]] = []
        self._count = 0

    def clear(self) -> None:
        """Forget the calls; numbers go on."""
        self._calls = []

    @property
    def next_number(self) -> int:
        """The `n` of the call that is logged next."""
        return self._count + 1

    @property
    def last_number(self) -> int:
        """The `n` of the call that was logged last, 0 before any."""
        return self._count

    def add(
        self,
        at: datetime,
        began_after: int,
        operation: Operation,
        status: int | None,
        error_code: str | None,
        request_id: str,
        fault: str | None,
    ) -> None:
        """`began_after` is the `n` of the last call that had ended when this one came.

        `status` is None where no answer was given; `fault` names what was planted.
        """
        self._count += 1
        self._calls.append(
            {
                "n": self._count,
                "began_after": began_after,
                "at": format_rfc3339(at),
                "service": operation.service,
                "operation": operation.name,
                "attempt": operation.attempt,
                "write": operation.is_write,
                "parameters": operation.parameters,
                "status": status,
                "error_code": error_code,
                "request_id": request_id,
                "fault": fault,
            }
        )

    def to_list(self) -> list[dict[str, Any]]:
        return list(self._calls)


calls = CallLog()
