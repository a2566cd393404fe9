"""What most scripts do: one listing of volumes, then one call a volume."""

import datetime
import sys

import boto3

now = datetime.datetime.fromisoformat(sys.argv[1])
ec2 = boto3.client("ec2", region_name="eu-west-2")
filters = [{"Name": "tag-key", "Values": ["k8s.io/etcd/*"]}]
missing = []
count = 0
for page in ec2.get_paginator("describe_volumes").paginate(Filters=filters, PaginationConfig={"PageSize": 1000}):
    for volume in page["Volumes"]:
        count += 1
        found = ec2.describe_snapshots(
            OwnerIds=["self"], Filters=[{"Name": "volume-id", "Values": [volume["VolumeId"]]}]
        )["Snapshots"]
        newest = max((snapshot["StartTime"] for snapshot in found), default=None)
        if newest is None or now - newest > datetime.timedelta(days=1) or len(found) < 14:
            missing.append(volume["VolumeId"])
print(count, len(missing))
sys.exit(bool(missing))
