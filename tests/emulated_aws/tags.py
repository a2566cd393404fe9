"""EC2 tags: AWS's rules for writing them, fast reading, and stale reads.

moto keeps tags per resource but reads them by a scan of the whole Region; here a
resource's tags are looked up. The rules apply to requests only: what AWS itself writes
(`aws:` tags) goes through moto's backend unchecked.

Invariant: a request that is refused has changed no tag.
"""

from collections.abc import Iterable
from typing import Any

from moto.core.responses import EmptyResult
from moto.ec2.exceptions import EC2ClientError, InvalidID, MissingParameterError, TagLimitExceeded
from moto.ec2.models.core import TaggedEC2Resource
from moto.ec2.responses._base_response import EC2BaseResponse
from moto.ec2.responses.tags import TagResponse
from moto.ec2.utils import EC2_PREFIX_TO_RESOURCE, get_prefix, is_valid_resource_id

from .clock import Moment, clock
from .patching import replace, wrap
from .settings import settings

KEY_LENGTH_MAX = 128
VALUE_LENGTH_MAX = 256
USER_TAGS_MAX = 50
RESOURCES_MAX = 1000


class StaleTags:
    """What DescribeVolumes still shows after a tag write, as EC2 may for a while.

    The tags of all volumes as they were before the last write are shown by the next
    `stale_reads` answers.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._before: dict[str, dict[str, str]] = {}
        self._answers_left = 0

    def before_write(self, backend: Any, resource_ids: list[str]) -> None:
        if settings.stale_reads and any(id.startswith("vol-") for id in resource_ids):
            self._before = {id: dict(backend.tags.get(id, {})) for id in backend.volumes}
            self._answers_left = settings.stale_reads

    def take_answer(self) -> dict[str, dict[str, str]]:
        """Tags by volume id for one answer; a volume that is absent shows its own."""
        if self._answers_left == 0:
            return {}
        self._answers_left -= 1
        return self._before


stale_tags = StaleTags()


class AuthorizedTags:
    """The tags of volumes as authorization sees them: for a while as they were before a write."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._before: list[tuple[Moment, dict[str, dict[str, str]]]] = []

    def before_write(self, backend: Any, resource_ids: list[str]) -> None:
        if settings.authorization_lag_seconds:
            tags = {id: dict(backend.tags.get(id, {})) for id in resource_ids}
            self._before.append((clock.moment(), tags))

    def of(self, backend: Any, resource_id: str) -> dict[str, str]:
        lag = settings.authorization_lag_seconds
        self._before = [(at, tags) for at, tags in self._before if clock.seconds_since(at) < lag]
        for _, tags in self._before:
            if resource_id in tags:
                return tags[resource_id]
        return backend.tags.get(resource_id, {})


authorized_tags = AuthorizedTags()


def is_reserved(key: str) -> bool:
    """Whether only AWS may write the key."""
    return key.lower().startswith("aws:")


def user_tags(tags: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in tags.items() if not is_reserved(key)}


def tag_set(tags: dict[str, str]) -> list[dict[str, str]] | None:
    """For EC2's XML."""
    return [{"key": key, "value": value} for key, value in tags.items()] or None


def check_tags(tags: list[dict[str, str]]) -> None:
    """Refuse keys and values that EC2 refuses, given as Key and Value."""
    keys = [tag.get("Key") or "" for tag in tags]
    for key in keys:
        if not key:
            raise _invalid("Tag key cannot be empty")
        if is_reserved(key):
            raise _invalid("Tag keys starting with 'aws:' are reserved for internal use")
        if len(key) > KEY_LENGTH_MAX:
            raise _invalid(f"Tag key exceeds the maximum length of {KEY_LENGTH_MAX} characters")
        if keys.count(key) > 1:
            raise _invalid(f"Duplicate tag key '{key}' specified.")
    for tag in tags:
        if len(tag.get("Value") or "") > VALUE_LENGTH_MAX:
            raise _invalid(f"Tag value exceeds the maximum length of {VALUE_LENGTH_MAX} characters")


def check_count(tags: Iterable[str]) -> None:
    if sum(not is_reserved(key) for key in tags) > USER_TAGS_MAX:
        raise TagLimitExceeded()


def _invalid(message: str) -> EC2ClientError:
    return EC2ClientError("InvalidParameterValue", message)


def _check_resources(backend: Any, resource_ids: list[str]) -> None:
    if not resource_ids:
        raise MissingParameterError("resourceIdSet")
    if len(resource_ids) > RESOURCES_MAX:
        raise _invalid(f"At most {RESOURCES_MAX} resources can be tagged at once")
    for resource_id in resource_ids:
        if not is_valid_resource_id(resource_id):
            raise InvalidID(resource_id)
        if resource_id.startswith("i-"):
            backend.get_instance(resource_id)
    backend.do_resources_exist(resource_ids)


def _create_tags(self: TagResponse) -> EmptyResult:
    backend = self.ec2_backend
    resource_ids = self._get_param("Resources", [])
    tags = self._get_param("Tags", [])
    _check_resources(backend, resource_ids)
    if not tags:
        raise MissingParameterError("tagSet")
    check_tags(tags)
    added = {tag["Key"]: tag.get("Value") or "" for tag in tags}
    for resource_id in resource_ids:
        check_count(backend.tags.get(resource_id, {}).keys() | added.keys())
    self.error_on_dryrun()
    stale_tags.before_write(backend, resource_ids)
    authorized_tags.before_write(backend, resource_ids)
    for resource_id in resource_ids:
        backend.tags[resource_id].update(added)
    return EmptyResult()


def _delete_tags(self: TagResponse) -> EmptyResult:
    """Without a value a tag goes in any case, with one only where it matches.

    Without any tag, all user tags go.
    """
    backend = self.ec2_backend
    resource_ids = self._get_param("Resources", [])
    tags = self._get_param("Tags", [])
    _check_resources(backend, resource_ids)
    check_tags(tags)
    self.error_on_dryrun()
    stale_tags.before_write(backend, resource_ids)
    authorized_tags.before_write(backend, resource_ids)
    for resource_id in resource_ids:
        present = backend.tags[resource_id]
        for tag in tags or [{"Key": key} for key in user_tags(present)]:
            value = tag.get("Value")
            if tag["Key"] in present and value in (None, present[tag["Key"]]):
                del present[tag["Key"]]
    return EmptyResult()


def _get_tags(self: TaggedEC2Resource) -> list[dict[str, str]]:
    resource_id = self.id  # type: ignore[attr-defined]
    tags = self.ec2_backend.tags.get(resource_id, {})  # type: ignore[attr-defined]
    resource_type = EC2_PREFIX_TO_RESOURCE.get(get_prefix(resource_id), "") if tags else ""
    return [
        {"resource_id": resource_id, "key": key, "value": value, "resource_type": resource_type}
        for key, value in tags.items()
    ]


def _checking_first(parse: Any) -> Any:
    def parse_tag_specification(self: EC2BaseResponse, expected_type: str | None = None) -> Any:
        for specification in self._get_param("TagSpecification", self._get_param("TagSpecifications", [])):
            check_tags(specification.get("Tags", []))
            check_count(tag["Key"] for tag in specification.get("Tags", []))
        return parse(self, expected_type)

    return parse_tag_specification


def install() -> None:
    replace(TagResponse, "create_tags", _create_tags)
    replace(TagResponse, "delete_tags", _delete_tags)
    replace(TaggedEC2Resource, "get_tags", _get_tags)
    wrap(EC2BaseResponse, "_parse_tag_specification", _checking_first)
