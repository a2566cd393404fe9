"""The template as plain CloudFormation, which needs no macro: for `aws cloudformation deploy` and
for service-managed stack sets.

    python -m deployment.plain > etcd-backup.cfn.yaml

It is what SAM makes of template.yaml but for these things: the code comes from a bucket that a
parameter names, and is built for x86_64; the partition is left open where SAM's translator writes
in its own Region's; marks of SAM's are gone.
"""

import re
import sys
from typing import Any

import yaml

from .location import key_prefix
from .transform import transform

HEADER = """\
# Made from template.yaml by `make package`: change that instead.
"""
SECTIONS = (
    "AWSTemplateFormatVersion",
    "Description",
    "Metadata",
    "Parameters",
    "Conditions",
    "Resources",
    "Outputs",
)
CODE_PARAMETERS = {
    "CodeBucket": {
        "Type": "String",
        "AllowedPattern": "^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$",
        "ConstraintDescription": "the name of an S3 bucket",
        "Description": "S3 bucket that holds the zips of this release. It must be in this stack's Region.",
    },
    "CodeBucketPerRegion": {
        "Type": "String",
        "Default": "false",
        "AllowedValues": ["false", "true"],
        "Description": (
            "true where each Region has a bucket of its own, called by CodeBucket, a hyphen and the "
            "Region: one stack set can then serve several Regions."
        ),
    },
    "CodeKeyPrefix": {
        "Type": "String",
        "Default": "",
        "AllowedPattern": "^([A-Za-z0-9!_.*'()-]+/)*$",
        "ConstraintDescription": "nothing, or a path that ends in a slash",
        "Description": (
            "What the zips' keys begin with; empty: this release's own prefix, etcd-backup/<version>/. "
            "CloudFormation takes new code from a new key alone: a build of your own needs a prefix of its own."
        ),
    },
}
CODE_LABELS = {
    "CodeBucket": {"default": "Bucket of the code"},
    "CodeBucketPerRegion": {"default": "A bucket for each Region"},
    "CodeKeyPrefix": {"default": "Prefix of the code"},
}
BUCKET = {
    "Fn::If": [
        "HasBucketPerRegion",
        {"Fn::Sub": "${CodeBucket}-${AWS::Region}"},
        {"Ref": "CodeBucket"},
    ]
}
# Written in by the translator, by the Region that it runs in.
PARTITION = re.compile(r"^arn:aws:")


def plain(documentation_url: str | None = None) -> dict[str, Any]:
    """The template, in the order in which people read one; alerts link to that documentation."""
    made = _with_open_partition(transform())
    made["Parameters"] |= CODE_PARAMETERS
    if documentation_url:
        made["Parameters"]["DocumentationUrl"]["Default"] = documentation_url
    # What the zips are built for.
    made["Parameters"]["Architecture"]["AllowedValues"] = ["x86_64"]
    made["Conditions"]["HasBucketPerRegion"] = {"Fn::Equals": [{"Ref": "CodeBucketPerRegion"}, "true"]}
    made["Conditions"]["HasCodeKeyPrefix"] = {"Fn::Not": [{"Fn::Equals": [{"Ref": "CodeKeyPrefix"}, ""]}]}
    interface = made["Metadata"]["AWS::CloudFormation::Interface"]
    interface["ParameterGroups"].insert(
        0, {"Label": {"default": "Code"}, "Parameters": list(CODE_PARAMETERS)}
    )
    interface["ParameterLabels"] |= CODE_LABELS
    made["Metadata"] = {"AWS::CloudFormation::Interface": interface}
    for resource in made["Resources"].values():
        _without_marks_of_sam(resource)
    return {name: made[name] for name in SECTIONS}


def binaries(template: dict[str, Any]) -> dict[str, str]:
    """By the logical name of each function, the binary that it runs."""
    return {
        name: resource["Metadata"]["BuildProperties"]["Binary"]
        for name, resource in template["Resources"].items()
        if resource["Type"] in ("AWS::Lambda::Function", "AWS::Serverless::Function")
    }


def _without_marks_of_sam(resource: dict[str, Any]) -> None:
    properties = resource["Properties"]
    metadata = resource.get("Metadata", {})
    if resource["Type"] == "AWS::Lambda::Function":
        binary = metadata["BuildProperties"]["Binary"]
        properties["Code"] = {
            "S3Bucket": BUCKET,
            # The template's, not a parameter's default: an update keeps a parameter's value, and would
            # take the new template with the old code.
            "S3Key": {
                "Fn::If": [
                    "HasCodeKeyPrefix",
                    {"Fn::Sub": f"${{CodeKeyPrefix}}{binary}.zip"},
                    f"{key_prefix()}{binary}.zip",
                ]
            },
        }
    # How SAM builds, and names resources; cfn-lint's own is kept.
    kept = {name: value for name, value in metadata.items() if name == "cfn-lint"}
    if kept:
        resource["Metadata"] = kept
    else:
        resource.pop("Metadata", None)
    if properties.get("Tags") == [{"Key": "lambda:createdBy", "Value": "SAM"}]:
        del properties["Tags"]


def _with_open_partition(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_open_partition(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_with_open_partition(inner) for inner in value]
    if isinstance(value, str) and PARTITION.match(value):
        return {"Fn::Sub": PARTITION.sub("arn:${AWS::Partition}:", value)}
    return value


class _Writer(yaml.SafeDumper):
    """Writes intrinsic functions as short tags, and texts of several lines as such."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _mapping(writer: _Writer, value: dict[str, Any]) -> yaml.Node:
    if len(value) == 1:
        ((name, argument),) = value.items()
        if name == "Fn::GetAtt":
            return writer.represent_scalar("!GetAtt", ".".join(argument))
        if name == "Ref" or name.startswith("Fn::"):
            tag = "!" + name.removeprefix("Fn::")
            if isinstance(argument, str):
                return writer.represent_scalar(tag, argument)
            return writer.represent_sequence(tag, argument)
    return writer.represent_mapping("tag:yaml.org,2002:map", value.items())


def _text(writer: _Writer, value: str) -> yaml.Node:
    style = "|" if "\n" in value.rstrip("\n") else None
    return writer.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Writer.add_representer(dict, _mapping)
_Writer.add_representer(str, _text)


def to_yaml(template: dict[str, Any]) -> str:
    """The template as a file."""
    body = yaml.dump(
        template,
        Dumper=_Writer,
        default_flow_style=None,
        sort_keys=False,
        width=120,
        allow_unicode=True,
    )
    return HEADER + body


def main() -> None:
    sys.stdout.write(to_yaml(plain()))


if __name__ == "__main__":
    main()
