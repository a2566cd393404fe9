//! The calls of restore, and nothing else, to see what of its size is the SDK's.

bench::function_of_calls! {
    aws_sdk_ec2::Client: create_tags create_volume delete_tags describe_availability_zones describe_instance_attribute describe_instances describe_snapshots describe_volumes terminate_instances;
    aws_sdk_autoscaling::Client: create_or_update_tags delete_tags describe_auto_scaling_groups resume_processes suspend_processes;
    aws_sdk_dlm::Client: get_lifecycle_policies get_lifecycle_policy;
    aws_sdk_dynamodb::Client: get_item put_item query;
}
