"""What a careful script does: one paged listing of volumes, one of snapshots, joined in memory."""

import datetime
import sys

import boto3

now = datetime.datetime.fromisoformat(sys.argv[1])
ec2 = boto3.client("ec2", region_name="eu-west-2")


def pages(operation, member, **arguments):
    for page in ec2.get_paginator(operation).paginate(PaginationConfig={"PageSize": 1000}, **arguments):
        yield from page[member]


filters = [{"Name": "tag-key", "Values": ["k8s.io/etcd/*"]}]
volumes = {volume["VolumeId"]: volume for volume in pages("describe_volumes", "Volumes", Filters=filters)}
filters = [{"Name": "tag-key", "Values": ["aws:dlm:lifecycle-schedule-name"]}]
newest: dict[str, datetime.datetime] = {}
counts: dict[str, int] = {}
for snapshot in pages("describe_snapshots", "Snapshots", OwnerIds=["self"], Filters=filters):
    volume, started = snapshot["VolumeId"], snapshot["StartTime"]
    counts[volume] = counts.get(volume, 0) + 1
    if volume not in newest or newest[volume] < started:
        newest[volume] = started
day = datetime.timedelta(days=1)
missing = [volume for volume in volumes if volume not in newest or now - newest[volume] > day]
short = [volume for volume in volumes if counts.get(volume, 0) < 14]
print(len(volumes), len(missing), len(short))
sys.exit(bool(missing or short))
