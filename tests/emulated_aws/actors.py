"""Others who change volumes' tags, as kops, Terraform and cleaners of tags do.

An actor acts when it is told to, or just before or after a call that a test names (the
fault `act`), so that it can come between any two calls of a function.

Invariant: an actor's description is read as a whole before it does anything.
"""

from collections.abc import Callable
from typing import Any

from moto.ec2.models import ec2_backends

from .calls import calls
from .candidates import candidates
from .tags import stale_tags, user_tags

Tags = dict[str, str]


def read(description: Any) -> Callable[[], None]:
    """What the actor does; ValueError says what is wrong with its description."""
    if not isinstance(description, dict) or description.get("actor") not in _ACTORS:
        raise ValueError(f"an actor must be an object whose actor is one of {', '.join(_ACTORS)}")
    fields, act = _ACTORS[description["actor"]]
    given = {name: value for name, value in description.items() if name != "actor"}
    if given.keys() - fields.keys():
        raise ValueError(f"unknown fields {sorted(given.keys() - fields.keys())}; known: {sorted(fields)}")
    for name, check in fields.items():
        if not check(given.get(name)):
            raise ValueError(f"{description['actor']}: {name} is missing or makes no sense: {given.get(name)!r}")

    def act_and_look() -> None:
        act(**given)
        candidates.look_after_actor(description["actor"], calls.next_number)

    return act_and_look


def _is_tags(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(tag, str) for pair in value.items() for tag in pair)


def _is_list_of(value: Any, **kinds: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and all(
        isinstance(one, dict)
        and one.keys() == kinds.keys()
        and all(check(one[name]) for name, check in kinds.items())
        for one in value
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _kops_update(volumes: list[dict[str, Any]], creates: bool) -> None:
    """`kops update cluster --yes`: a volume is found by its Name and KubernetesCluster.

    One that is found is tagged as kops has it, and with nothing else. Where there is none
    it makes a blank one, unless `creates` is false; where there are several it fails.
    """
    for wanted in volumes:
        tags = wanted["tags"]
        found = _volumes_tagged({key: tags[key] for key in ("Name", "KubernetesCluster")})
        if len(found) > 1:
            return
        for volume in found:
            _set_tags(volume, tags)
        if not found and creates:
            backend = _backend_of_zone(wanted["zone"])
            volume = backend.create_volume(size=wanted["size"], zone_name=wanted["zone"], volume_type="gp3")
            backend.tags[volume.id].update(tags)


def _terraform_apply(volumes: list[dict[str, Any]]) -> None:
    """`terraform apply`: a volume of its state, found by id, is tagged as it is declared."""
    for declared in volumes:
        for _, _, backend in ec2_backends.iter_backends():
            if declared["id"] in backend.volumes:
                _set_tags(backend.volumes[declared["id"]], declared["tags"])


def _tag_cleaner(prefixes: list[str]) -> None:
    """Takes off all tags with these prefixes, whichever volume they are on."""
    for _, _, backend in ec2_backends.iter_backends():
        for volume in list(backend.volumes.values()):
            tags = backend.tags.get(volume.id, {})
            _set_tags(volume, {key: tags[key] for key in tags if not key.startswith(tuple(prefixes))})


_ACTORS: dict[str, tuple[dict[str, Callable[[Any], bool]], Callable[..., None]]] = {
    "kops-update": (
        {
            "volumes": lambda value: _is_list_of(
                value, zone=_is_text, size=lambda size: isinstance(size, int), tags=_is_named
            ),
            "creates": lambda value: isinstance(value, bool),
        },
        _kops_update,
    ),
    "terraform-apply": (
        {"volumes": lambda value: _is_list_of(value, id=_is_text, tags=_is_tags)},
        _terraform_apply,
    ),
    "tag-cleaner": (
        {"prefixes": lambda value: isinstance(value, list) and bool(value) and all(map(_is_text, value))},
        _tag_cleaner,
    ),
}


def _is_named(tags: Any) -> bool:
    return _is_tags(tags) and {"Name", "KubernetesCluster"} <= tags.keys()


def _volumes_tagged(tags: Tags) -> list[Any]:
    return [
        volume
        for _, _, backend in ec2_backends.iter_backends()
        for volume in backend.volumes.values()
        if tags.items() <= backend.tags.get(volume.id, {}).items()
    ]


def _set_tags(volume: Any, tags: Tags) -> None:
    """These and no other, but for AWS's own."""
    backend = volume.ec2_backend
    present = backend.tags[volume.id]
    if tags == user_tags(present):
        return
    stale_tags.before_write(backend, [volume.id])
    for key in user_tags(present):
        del present[key]
    present.update(tags)


def _backend_of_zone(zone: str) -> Any:
    for _, region, backend in ec2_backends.iter_backends():
        if zone.startswith(region) and backend.volumes:
            return backend
    raise ValueError(f"there is nothing in the Region of {zone}")
