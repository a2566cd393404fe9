"""Launching: what a launch template says about volumes.

moto makes a root volume of its own besides those of the template, and tags none of them.
"""

from typing import Any

from moto.ec2.models.instances import InstanceBackend
from moto.ec2.utils import convert_tag_spec

from .patching import wrap


def _with_volumes_of_template(moto_run_instances: Any) -> Any:
    def run_instances(self: Any, *args: Any, **kwargs: Any) -> Any:
        template = kwargs.get("launch_template")
        if template:
            data = self._get_template_from_args(template).data
            if not kwargs.get("block_device_mappings") and data.get("BlockDeviceMappings"):
                kwargs["block_device_mappings"] = data["BlockDeviceMappings"]
            volume_tags = convert_tag_spec(data.get("TagSpecifications") or []).get("volume", {})
            tags = kwargs.get("tags") or {}
            kwargs["tags"] = {**tags, "volume": {**volume_tags, **tags.get("volume", {})}}
        return moto_run_instances(self, *args, **kwargs)

    return run_instances


def install() -> None:
    wrap(InstanceBackend, "run_instances", _with_volumes_of_template)
