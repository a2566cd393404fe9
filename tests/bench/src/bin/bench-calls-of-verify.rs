//! The calls of verify, and nothing else, to see what of its size is the SDK's.

bench::function_of_calls! {
    aws_sdk_ec2::Client: create_tags describe_snapshots describe_volumes;
    aws_sdk_dlm::Client: get_lifecycle_policies get_lifecycle_policy;
    aws_sdk_ebs::Client: get_snapshot_block list_snapshot_blocks;
}
