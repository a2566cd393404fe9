"""The table of restores as its callers use it: conditions, faults, copies, consistent reads."""

import time
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from .fresh_aws import Aws, code_of
from .restricted import ACCOUNT, Function, allow

TABLE = "restores"
ARN = f"arn:aws:dynamodb:eu-west-2:{ACCOUNT}:table/{TABLE}"
KEY = {"cluster": {"S": "k8s.mycompany.tld"}, "id": {"S": "lease"}}


@pytest.fixture
def table(aws: Aws) -> Any:
    client = aws.client("dynamodb")
    keys = {"cluster": "HASH", "id": "RANGE"}
    client.create_table(
        TableName=TABLE,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in keys],
        KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys.items()],
        Tags=[{"Key": "by", "Value": "us"}],
    )
    return client


def new(token: str) -> dict[str, Any]:
    """Parameters that put the item where there is none."""
    return {
        "TableName": TABLE,
        "Item": {**KEY, "token": {"S": token}},
        "ConditionExpression": "attribute_not_exists(#id)",
        "ExpressionAttributeNames": {"#id": "id"},
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }


def in_place_of(seen: str, token: str) -> dict[str, Any]:
    return {
        **new(token),
        "ConditionExpression": "#token = :seen",
        "ExpressionAttributeNames": {"#token": "token"},
        "ExpressionAttributeValues": {":seen": {"S": seen}},
    }


def set_token(token: str) -> dict[str, Any]:
    return {
        "UpdateExpression": "SET #token = :token",
        "ExpressionAttributeNames": {"#token": "token"},
        "ExpressionAttributeValues": {":token": {"S": token}},
    }


def token_of(client: Any, is_consistent: bool = True) -> str | None:
    item = client.get_item(TableName=TABLE, Key=KEY, ConsistentRead=is_consistent).get("Item")
    return item and item["token"]["S"]


def test_a_write_on_a_condition_that_fails_shows_what_is_there(table: Any) -> None:
    table.put_item(**new("a/1"))
    with pytest.raises(ClientError) as failure:
        table.put_item(**in_place_of("b/1", "b/2"))
    assert failure.value.response["Error"]["Code"] == "ConditionalCheckFailedException"
    assert failure.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert failure.value.response["Item"] == {**KEY, "token": {"S": "a/1"}}
    assert token_of(table) == "a/1"
    table.put_item(**in_place_of("a/1", "b/2"))
    assert token_of(table) == "b/2"


def test_only_a_consistent_read_shows_the_last_write(table: Any) -> None:
    table.put_item(**new("a/1"))
    assert (token_of(table, is_consistent=False), token_of(table)) == (None, "a/1")
    table.put_item(**in_place_of("a/1", "a/2"))
    assert (token_of(table, is_consistent=False), token_of(table)) == ("a/1", "a/2")
    table.update_item(TableName=TABLE, Key=KEY, **set_token("a/3"))
    assert (token_of(table, is_consistent=False), token_of(table)) == ("a/2", "a/3")

    def found(**more: Any) -> list[str]:
        keys = {"KeyConditionExpression": "cluster = :c", "ExpressionAttributeValues": {":c": KEY["cluster"]}}
        return [item["token"]["S"] for item in table.query(TableName=TABLE, **keys, **more)["Items"]]

    assert (found(), found(ConsistentRead=True)) == (["a/2"], ["a/3"])


def test_a_retry_whose_first_answer_was_lost_meets_its_own_success(aws: Aws, table: Any) -> None:
    aws.post("faults", {"operation": "PutItem", "fault": {"kind": "drop_answer"}})
    with pytest.raises(ClientError) as failure:
        aws.client("dynamodb", attempts=3).put_item(**new("a/1"))
    assert failure.value.response["Item"]["token"] == {"S": "a/1"}
    puts = [call for call in aws.get("calls")["calls"] if call["operation"] == "PutItem"]
    assert [(put["status"], put["fault"]) for put in puts] == [(None, "drop_answer"), (400, None)]


def test_a_lost_request_and_a_throttled_one_write_nothing(aws: Aws, table: Any) -> None:
    aws.post("faults", {"operation": "PutItem", "fault": {"kind": "drop_request"}})
    with pytest.raises(ConnectionClosedError):
        table.put_item(**new("a/1"))
    throttled = {"kind": "error", "code": "ThrottlingException", "status": 400}
    aws.post("faults", {"service": "dynamodb", "operation": "*", "fault": throttled})
    assert code_of(table.put_item, **new("a/2")) == "ThrottlingException"
    assert token_of(table) is None
    aws.post("faults", {"operation": "PutItem", "fault": throttled, "count": 2})
    aws.client("dynamodb", attempts=5).put_item(**new("a/3"))
    assert token_of(table) == "a/3"


def test_a_slow_write_is_done_late(aws: Aws, table: Any) -> None:
    aws.post("faults", {"operation": "PutItem", "fault": {"kind": "delay", "seconds": 0.5}})
    began = time.monotonic()
    table.put_item(**new("a/1"))
    assert time.monotonic() - began >= 0.5


def test_the_log_tells_reads_from_writes(aws: Aws, table: Any) -> None:
    aws.delete("calls")
    table.put_item(**new("a/1"))
    token_of(table)
    keys = {"KeyConditionExpression": "cluster = :c", "ExpressionAttributeValues": {":c": KEY["cluster"]}}
    table.query(TableName=TABLE, **keys)
    logged = [(call["service"], call["operation"], call["write"]) for call in aws.get("calls")["calls"]]
    reads = [("dynamodb", "GetItem", False), ("dynamodb", "Query", False)]
    assert logged == [("dynamodb", "PutItem", True), *reads]


def test_a_copy_has_the_table_and_is_independent(aws: Aws, table: Any) -> None:
    table.put_item(**new("a/1"))
    copy = Aws(aws.post("fork")["endpoint"])
    there = copy.client("dynamodb")
    assert token_of(there) == "a/1"
    there.put_item(**in_place_of("a/1", "b/1"))
    table.put_item(**in_place_of("a/1", "a/2"))
    assert (token_of(table), token_of(there)) == ("a/2", "b/1")
    assert (token_of(table, is_consistent=False), token_of(there, is_consistent=False)) == ("a/1", "a/1")
    copy.post("stop")


def test_what_each_call_needs(function: Function, table: Any) -> None:
    client = function.client("dynamodb")
    keys = {"KeyConditionExpression": "cluster = :c", "ExpressionAttributeValues": {":c": KEY["cluster"]}}
    calls = {
        "GetItem": lambda name: lambda: client.get_item(TableName=name, Key=KEY),
        "PutItem": lambda name: lambda: client.put_item(TableName=name, Item=KEY),
        "UpdateItem": lambda name: lambda: client.update_item(TableName=name, Key=KEY, **set_token("a/1")),
        "Query": lambda name: lambda: client.query(TableName=name, **keys),
    }
    for action, call in calls.items():
        for name in (TABLE, ARN):
            assert function.needs_of(call(name)) == [(f"dynamodb:{action}", ARN)]
        assert function.is_let(call(TABLE), allow(f"dynamodb:{action}", ARN))
        assert not function.is_let(call(TABLE), allow(f"dynamodb:{action}", f"{ARN}s"))
        others = [allow(f"dynamodb:{other}") for other in calls if other != action]
        assert not function.is_let(call(TABLE), *others)
        assert function.is_let(call(TABLE), allow(StringEquals={"aws:ResourceTag/by": "us"}))
        assert not function.is_let(call(TABLE), allow(StringEquals={"aws:ResourceTag/by": "them"}))
    function.may()
    assert code_of(client.get_item, TableName=TABLE, Key=KEY) == "AccessDeniedException"
