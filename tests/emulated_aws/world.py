"""The emulated AWS as a whole: whether anything is in it, and emptying it."""

from typing import Any

from moto.core.base_backend import BackendDict
from moto.core.model_instances import reset_model_data
from moto.ec2.models import ec2_backends
from moto.iam.models import iam_backends
from moto.sns.models import sns_backends

from .calls import calls
from .candidates import candidates
from .clock import clock
from .dlm.models import dlm_backends
from .dlm.scheduler import scheduler
from .faults import faults
from .masters import masters
from .permissions import permissions
from .settings import settings
from .sns import messages
from .tags import authorized_tags, stale_tags
from .terminations import terminations
from .volume_creation import volume_creation


def has_resources() -> bool:
    """Whether anything exists that has a time."""
    return (
        any(backend.volumes or backend.snapshots or backend.reservations for backend in _all(ec2_backends))
        or any(backend.policies for backend in _all(dlm_backends))
        or any(backend.topics for backend in _all(sns_backends))
        or any(_has_own_identities(backend) for backend in _all(iam_backends))
    )


def settle() -> None:
    """Let what is over by now be over, and masters do what they have come to."""
    terminations.settle()
    volume_creation.settle()
    masters.settle()


def reset() -> None:
    """Empty everything; the clock goes back to real time."""
    BackendDict.reset()
    reset_model_data()
    clock.reset()
    settings.reset()
    scheduler.reset()
    volume_creation.reset()
    stale_tags.reset()
    authorized_tags.reset()
    masters.reset()
    terminations.reset()
    faults.clear()
    calls.reset()
    candidates.clear()
    permissions.reset()
    messages.clear()


def _all(backends: BackendDict) -> list[Any]:
    return [backend for _, _, backend in backends.iter_backends()]


def _has_own_identities(backend: Any) -> bool:
    own_policies = [arn for arn in backend.managed_policies if arn.split(":")[4] != "aws"]
    return bool(backend.roles or own_policies)
