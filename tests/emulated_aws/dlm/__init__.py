"""Amazon Data Lifecycle Manager, in the shape of a moto service.

It shares moto's EC2 state, accounts and clock. `install` makes moto find it as it
finds its own services.
"""

import re
import sys

from moto import backend_index

from .models import dlm_backends as dlm_backends

_MOTO_NAME = "moto.dlm"


def install() -> None:
    if any(service == "dlm" for service, _ in backend_index.backend_url_patterns):
        raise RuntimeError("moto has a service named dlm now: the emulator's own must be revised")
    # moto imports a service's package by name and reads `<service>_backends` from it.
    sys.modules[_MOTO_NAME] = sys.modules[__name__]
    pattern = re.compile(r"https?://dlm\.(.+)\.amazonaws\.com")
    backend_index.backend_url_patterns.append(("dlm", pattern))
