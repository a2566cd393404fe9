"""Tests of the emulated AWS over HTTP, with boto3 as the judge."""
