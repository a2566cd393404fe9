//! The calls of converge, and nothing else, to see what of its size is the SDK's.

bench::function_of_calls! {
    aws_sdk_ec2::Client: describe_instances describe_snapshots describe_volumes;
    aws_sdk_dlm::Client: create_lifecycle_policy delete_lifecycle_policy get_lifecycle_policies get_lifecycle_policy tag_resource untag_resource update_lifecycle_policy;
    aws_sdk_iam::Client: attach_role_policy create_policy create_policy_version create_role delete_policy delete_policy_version delete_role detach_role_policy get_policy get_policy_version get_role list_attached_role_policies list_instance_profiles_for_role list_policies list_policy_versions list_role_policies put_role_permissions_boundary tag_policy tag_role untag_role update_assume_role_policy;
    aws_sdk_sns::Client: publish;
}
