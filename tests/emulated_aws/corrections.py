"""All corrections of moto, put in place once per process, before any request is served."""

import os

from . import (
    attachments,
    clock,
    dlm,
    dynamodb,
    groups,
    iam,
    instances,
    snapshots,
    sns,
    tags,
    terminations,
    volume_creation,
    volumes,
)


def install() -> None:
    # Otherwise some 1,300 snapshots of public images look like the account's own.
    os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"
    clock.install()
    tags.install()
    volumes.install()
    volume_creation.install()
    snapshots.install()
    attachments.install()
    instances.install()
    terminations.install()
    groups.install()
    iam.install()
    sns.install()
    dlm.install()
    dynamodb.install()
