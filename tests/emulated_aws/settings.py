"""What a test can set about the emulated AWS, with AWS-like defaults."""

from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass
class Settings:
    """Times in seconds; see each field's use for its meaning."""

    volume_creating_seconds: float = 0.0
    snapshot_pending_seconds: float = 0.0
    instance_terminating_seconds: float = 0.0
    role_assumable_after_seconds: float = 0.0
    page_size_max: int = 1000
    stale_reads: int = 0
    authorization_lag_seconds: float = 0.0
    # With which of EC2's error codes a volume initialization rate is refused; empty: accepted.
    initialization_rate_refusal: str = ""

    # Blocks in a page of ListSnapshotBlocks at most, and whether every other page is empty.
    ebs_page_size_max: int = 10_000
    ebs_empty_pages: int = 0

    def change(self, changes: dict[str, Any]) -> None:
        """All or nothing; ValueError names an unknown setting or a bad value."""
        known = {field.name: field.type for field in fields(self)}
        for name, value in changes.items():
            if name not in known:
                raise ValueError(f"unknown setting {name!r}; known: {', '.join(known)}")
            if known[name] is str:
                if not isinstance(value, str):
                    raise ValueError(f"setting {name} must be a string")
                continue
            whole = known[name] is int
            if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
                raise ValueError(f"setting {name} must be a {'whole ' if whole else ''}number")
            if value < (1 if name.endswith("page_size_max") else 0):
                raise ValueError(f"setting {name} is too small: {value}")
        for name, value in changes.items():
            setattr(self, name, value)

    def reset(self) -> None:
        self.change(asdict(Settings()))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


settings = Settings()
