"""DynamoDB where moto differs from AWS: reads that are not asked to be consistent.

moto shows every write at once. DynamoDB does so only for reads with ConsistentRead; others
may miss the last write. Here they always do, so that a read which forgets to ask for it
is noticed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from moto.dynamodb.models import DynamoDBBackend, dynamodb_backends
from moto.dynamodb.models.table import Table
from moto.dynamodb.responses import DynamoHandler

from .patching import wrap


def table_of(account_id: str, region: str, name_or_arn: str) -> Table | None:
    """The table, or None."""
    tables = dynamodb_backends[account_id][region].tables.values()
    return next((one for one in tables if name_or_arn in (one.name, one.table_arn)), None)


def _remembering(moto_write: Any) -> Any:
    """Every write, its table named first, keeps the items as they were before it."""

    def write(self: DynamoDBBackend, table_name: str, *args: Any, **kwargs: Any) -> Any:
        table = self.get_table(table_name)
        before = deepcopy(table.items)  # an update changes its item in place
        written = moto_write(self, table_name, *args, **kwargs)
        table.items_before = before
        return written

    return write


def _lagging(moto_read: Any) -> Any:
    def read(self: DynamoHandler) -> Any:
        if self.body.get("ConsistentRead"):
            return moto_read(self)
        with _as_before_its_last_write(self.dynamodb_backend.get_table(self.body["TableName"])):
            return moto_read(self)

    return read


@contextmanager
def _as_before_its_last_write(table: Table) -> Iterator[None]:
    present = table.items
    table.items = getattr(table, "items_before", present)
    try:
        yield
    finally:
        table.items = present


def install() -> None:
    for write in ("put_item", "update_item", "delete_item"):
        wrap(DynamoDBBackend, write, _remembering)
    for read in ("get_item", "query"):
        wrap(DynamoHandler, read, _lagging)
