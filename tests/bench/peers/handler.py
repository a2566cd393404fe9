"""A Python function with boto3, as Lambda's own runtime starts it: clients first, then the first event."""

import os
import urllib.request

import boto3

ec2 = boto3.client("ec2", region_name="eu-west-2")
sns = boto3.client("sns", region_name="eu-west-2")
address = os.environ["AWS_LAMBDA_RUNTIME_API"]
urllib.request.urlopen(f"http://{address}/2018-06-01/runtime/invocation/next")
