"""Replacing parts of moto, loudly.

Invariant: a part of moto that is gone or renamed stops the emulator at start-up,
rather than leaving AWS emulated wrongly in silence.
"""

from collections.abc import Callable
from typing import Any


class PatchTargetMissing(RuntimeError):
    """moto no longer has the thing that a correction replaces."""


def wrap(owner: Any, name: str, wrapper: Callable[[Any], Any]) -> None:
    """Put `wrapper(original)` in place of `owner.name`."""
    replace(owner, name, wrapper(vars(owner).get(name)))


def replace(owner: Any, name: str, replacement: Any) -> Any:
    """Put `replacement` in place of `owner.name` and return the original."""
    if name not in vars(owner):
        owner_name = getattr(owner, "__qualname__", getattr(owner, "__name__", owner))
        raise PatchTargetMissing(f"moto has no {owner_name}.{name}: its correction must be revised")
    original = vars(owner)[name]
    setattr(owner, name, replacement)
    return original
