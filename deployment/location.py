"""Where the functions' code lies, without any library that only a packager has."""

import tomllib
from pathlib import Path

# After `sam package`, as the transformed template has it.
PACKAGED = {"Bucket": "packaged", "Key": "function.zip"}


def workspace_version() -> str:
    """The one version of all that this workspace builds."""
    manifest = tomllib.loads((Path(__file__).parents[1] / "Cargo.toml").read_text())
    return manifest["workspace"]["package"]["version"]


def key_prefix() -> str:
    """Where a release's zips lie in a bucket unless a deployment says otherwise."""
    return f"etcd-backup/{workspace_version()}/"
