//! The calls of audit, and nothing else, to see what of its size is the SDK's.

bench::function_of_calls! {
    aws_sdk_ec2::Client: describe_instances describe_snapshots describe_volumes;
    aws_sdk_autoscaling::Client: describe_auto_scaling_groups;
    aws_sdk_dlm::Client: get_lifecycle_policies get_lifecycle_policy;
    aws_sdk_dynamodb::Client: get_item query;
    aws_sdk_sns::Client: publish;
}
