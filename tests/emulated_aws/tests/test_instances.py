"""Attaching, detaching, launching, terminating, as far as volumes are concerned."""

from .fresh_aws import Aws, as_dict, as_list, code_of


def test_attach_and_detach(aws: Aws) -> None:
    volume_id, instance_id = aws.volume(), aws.instance()
    aws.ec2.attach_volume(VolumeId=volume_id, InstanceId=instance_id, Device="/dev/xvdu")
    volume = aws.described_volume(volume_id)
    assert volume["State"] == "in-use"
    attachment = volume["Attachments"][0]
    assert (attachment["InstanceId"], attachment["Device"]) == (instance_id, "/dev/xvdu")
    assert attachment["DeleteOnTermination"] is False
    asked = [{"Name": "attachment.instance-id", "Values": [instance_id]}]
    assert len(aws.ec2.describe_volumes(Filters=asked)["Volumes"]) == 2  # with the root volume
    aws.ec2.detach_volume(VolumeId=volume_id)
    assert aws.described_volume(volume_id)["State"] == "available"
    assert code_of(aws.ec2.detach_volume, VolumeId=volume_id) == "IncorrectState"


def test_refused_attachments(aws: Aws) -> None:
    volume_id, instance_id = aws.volume("a"), aws.instance("a")
    elsewhere = {"VolumeId": volume_id, "InstanceId": aws.instance("b"), "Device": "/dev/xvdu"}
    assert code_of(aws.ec2.attach_volume, **elsewhere) == "InvalidVolume.ZoneMismatch"
    here = {"VolumeId": volume_id, "InstanceId": instance_id, "Device": "/dev/xvdu"}
    unknown = {**here, "InstanceId": "i-0123456789abcdef0"}
    assert code_of(aws.ec2.attach_volume, **unknown) == "InvalidInstanceID.NotFound"
    aws.ec2.attach_volume(**here)
    assert code_of(aws.ec2.attach_volume, **here) == "VolumeInUse"
    assert code_of(aws.ec2.attach_volume, **{**here, "VolumeId": aws.volume()}) == "InvalidParameterValue"
    assert code_of(aws.ec2.delete_volume, VolumeId=volume_id) == "VolumeInUse"


def test_a_volume_that_is_not_available_cannot_be_attached(aws: Aws) -> None:
    volume_id, instance_id = aws.volume(), aws.instance()
    aws.post(f"ec2/volumes/{volume_id}", {"state": "error"})
    request = {"VolumeId": volume_id, "InstanceId": instance_id, "Device": "/dev/xvdu"}
    assert code_of(aws.ec2.attach_volume, **request) == "IncorrectState"


def test_termination_detaches_and_deletes(aws: Aws) -> None:
    instance_id = aws.instance(
        BlockDeviceMappings=[
            {
                "DeviceName": "/dev/xvda",
                "Ebs": {"VolumeSize": 48, "VolumeType": "gp3", "DeleteOnTermination": True},
            }
        ],
    )
    kept = aws.volume()
    aws.ec2.attach_volume(VolumeId=kept, InstanceId=instance_id, Device="/dev/xvdu")
    assert len(aws.ec2.describe_volumes()["Volumes"]) == 2
    aws.ec2.terminate_instances(InstanceIds=[instance_id])
    left = aws.ec2.describe_volumes()["Volumes"]
    assert [(volume["VolumeId"], volume["State"]) for volume in left] == [(kept, "available")]


def test_launching_tags_the_root_volume(aws: Aws) -> None:
    tags = {"k8s.io/role/master": "1", "KubernetesCluster": "c"}
    instance_id = aws.instance(
        BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 48, "VolumeType": "gp3"}}],
        TagSpecifications=[
            {"ResourceType": "volume", "Tags": as_list(tags)},
            {"ResourceType": "instance", "Tags": as_list({"Name": "master"})},
        ],
    )
    volume = aws.ec2.describe_volumes()["Volumes"][0]
    assert as_dict(volume["Tags"]) == tags
    assert (volume["State"], volume["Attachments"][0]["InstanceId"]) == ("in-use", instance_id)
    assert volume["AvailabilityZone"] == "eu-west-2a"


def test_autoscaling_groups_show_their_zone_and_tags(aws: Aws) -> None:
    autoscaling = aws.client("autoscaling")
    autoscaling.create_launch_configuration(
        LaunchConfigurationName="l", ImageId="ami-12345678", InstanceType="t3.medium"
    )
    autoscaling.create_auto_scaling_group(
        AutoScalingGroupName="master-a",
        LaunchConfigurationName="l",
        MinSize=1,
        MaxSize=1,
        AvailabilityZones=["eu-west-2a"],
        Tags=[{"Key": "KubernetesCluster", "Value": "c", "PropagateAtLaunch": True}],
    )
    group = autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"][0]
    assert group["AvailabilityZones"] == ["eu-west-2a"]
    assert as_dict(group["Tags"]) == {"KubernetesCluster": "c"}
    assert len(group["Instances"]) == 1


def test_launching_from_a_template(aws: Aws) -> None:
    aws.ec2.create_launch_template(
        LaunchTemplateName="master",
        LaunchTemplateData={
            "ImageId": "ami-12345678",
            "BlockDeviceMappings": [
                {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 48, "VolumeType": "gp3"}}
            ],
            "TagSpecifications": [{"ResourceType": "volume", "Tags": as_list({"k8s.io/role/master": "1"})}],
        },
    )
    aws.ec2.run_instances(
        LaunchTemplate={"LaunchTemplateName": "master"},
        MinCount=1,
        MaxCount=1,
        Placement={"AvailabilityZone": "eu-west-2a"},
    )
    (volume,) = aws.ec2.describe_volumes()["Volumes"]
    assert (volume["Size"], as_dict(volume["Tags"])) == (48, {"k8s.io/role/master": "1"})


def test_groups_launch_from_their_template(aws: Aws) -> None:
    data = {
        "ImageId": "ami-12345678",
        "InstanceType": "t3.medium",
        "BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 48}}],
        "TagSpecifications": [{"ResourceType": "volume", "Tags": as_list({"k8s.io/role/master": "1"})}],
    }
    aws.ec2.create_launch_template(LaunchTemplateName="master", LaunchTemplateData=data)
    aws.client("autoscaling").create_auto_scaling_group(
        AutoScalingGroupName="master-b",
        LaunchTemplate={"LaunchTemplateName": "master", "Version": "$Latest"},
        MinSize=1,
        MaxSize=1,
        AvailabilityZones=["eu-west-2b"],
    )
    (volume,) = aws.ec2.describe_volumes()["Volumes"]
    assert (volume["AvailabilityZone"], volume["Size"]) == ("eu-west-2b", 48)
    assert as_dict(volume["Tags"]) == {"k8s.io/role/master": "1"}
