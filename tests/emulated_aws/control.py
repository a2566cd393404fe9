"""The control interface: JSON over HTTP under /emulator/.

A request that makes no sense answers 400 and says why; it has then changed nothing.
"""

import json
import os
import signal
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from . import actors, control_ec2, crowd, groups, world
from .calls import calls
from .candidates import candidates
from .clock import clock, format_rfc3339, parse_rfc3339
from .copies import copies
from .dlm.models import dlm_backends
from .dlm.scheduler import scheduler
from .faults import faults
from .masters import masters
from .permissions import permissions
from .settings import settings
from .sns import messages
from .volume_creation import volume_creation
from .wire import Answer

PREFIX = "/emulator/"

Handler = Callable[..., Any]


def answer(method: str, path: str, body: bytes) -> Answer:
    """Serve one control request."""
    handler, arguments = _route(method, path)
    if handler is None:
        return _json(404, {"error": f"no such control request: {method} {path}"})
    try:
        if method == "POST":
            arguments.append(json.loads(body or b"{}", object_pairs_hook=_object))
        return _json(200, handler(*arguments))
    except KeyError as missing:
        return _json(400, {"error": f"{method} {path}: the field {missing} is missing"})
    except (ValueError, TypeError, OverflowError) as problem:
        return _json(400, {"error": f"{method} {path}: {problem}"})


def _route(method: str, path: str) -> tuple[Handler | None, list[Any]]:
    parts = path.removeprefix(PREFIX).strip("/").split("/")
    for (route_method, pattern), handler in _ROUTES.items():
        names = pattern.split("/")
        if route_method == method and len(names) == len(parts):
            pairs = list(zip(names, parts, strict=True))
            if all(name in ("*", part) for name, part in pairs):
                return handler, [part for name, part in pairs if name == "*"]
    return None, []


def _json(status: int, value: Any) -> Answer:
    return Answer(status, [("Content-Type", "application/json")], json.dumps(value).encode())


def _object(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of two fields of one name JSON would keep the second, and take no notice of the first."""
    if len(dict(fields)) < len(fields):
        raise ValueError(f"a field is given twice: {', '.join(name for name, _ in fields)}")
    return dict(fields)


def known_fields(request: Any, *known: str) -> dict[str, Any]:
    """The request; ValueError where it is no object or has other fields."""
    if not isinstance(request, dict):
        raise ValueError("the body must be a JSON object")
    if unknown := request.keys() - set(known):
        raise ValueError(f"unknown fields {sorted(unknown)}; known: {', '.join(known)}")
    return request


def _show_clock() -> dict[str, Any]:
    return {"now": format_rfc3339(clock.now())}


def _move_clock(request: Any) -> dict[str, Any]:
    known_fields(request, "set", "advance_seconds", "tick")
    if ("set" in request) == ("advance_seconds" in request):
        raise ValueError("give either set or advance_seconds")
    now = clock.now()
    if "set" in request:
        then = parse_rfc3339(request["set"])
    else:
        then = now + timedelta(seconds=request["advance_seconds"])
    if then < now and world.has_resources():
        raise ValueError("the clock goes backwards only before any resource exists")
    clock.move_to(then)
    if then < now or not request.get("tick", True):
        scheduler.skip_to(then)
        return {**_show_clock(), "runs": []}
    return {**_show_clock(), "runs": scheduler.run_due(then)}


def _plant_dlm(request: Any) -> dict[str, Any]:
    known_fields(request, "volume_id", "outcome", "runs")
    scheduler.plant(request["volume_id"], request["outcome"], request.get("runs", 1))
    return {"ok": True}


def _force_policy(policy_id: str, request: Any) -> dict[str, Any]:
    known_fields(request, "state", "status_message")
    if request["state"] not in ("ENABLED", "DISABLED", "ERROR"):
        raise ValueError(f"state must be ENABLED, DISABLED or ERROR, not {request['state']!r}")
    for _, _, backend in dlm_backends.iter_backends():
        if policy_id in backend.policies:
            policy = backend.policies[policy_id]
            policy.force_state(request["state"], request.get("status_message"))
            return policy.to_dict()
    raise ValueError(f"no policy {policy_id}")


def _plant_faults(request: Any) -> dict[str, Any]:
    return {"faults": faults.plant(request if isinstance(request, list) else [request])}


def _plant_volume_end(request: Any) -> dict[str, Any]:
    known_fields(request, "outcome", "nth")
    volume_creation.plant_end(request["outcome"], request.get("nth", 1))
    return {"ok": True}


def _plant_late_launch(request: Any) -> dict[str, Any]:
    known_fields(request, "group")
    groups.plant_late_launch(request["group"])
    return {"ok": True}


def _watch_masters(request: Any) -> dict[str, Any]:
    known_fields(request, "cluster", "mounted_by", "etcd_clusters", "boot_seconds")
    masters.watch(
        request["cluster"], request["mounted_by"], request["etcd_clusters"], request.get("boot_seconds", 0)
    )
    return {"ok": True}


def _act(request: Any) -> dict[str, Any]:
    actors.read(request)()
    return {"ok": True}


def _copy_cluster(request: Any) -> dict[str, Any]:
    known_fields(request, "cluster", "count")
    return {"volumes": crowd.copy_cluster(request["cluster"], request["count"])}


def _enforce(request: Any) -> dict[str, Any]:
    known_fields(request, "access_key_id", "policies")
    permissions.enforce(request["access_key_id"], request["policies"])
    return {"ok": True}


def _change_settings(request: Any) -> dict[str, Any]:
    settings.change(known_fields(request, *settings.to_dict()))
    return settings.to_dict()


def _clear(clear: Callable[[], None]) -> Handler:
    def handler() -> dict[str, Any]:
        clear()
        return {"ok": True}

    return handler


def _fork(request: Any) -> dict[str, Any]:
    known_fields(request)
    return {"endpoint": copies.make()}


def _stop(_: Any) -> dict[str, Any]:
    # Only once the answer has left.
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
    return {"ok": True}


_ROUTES: dict[tuple[str, str], Handler] = {
    ("GET", "health"): lambda: {"ok": True},
    ("GET", "clock"): _show_clock,
    ("POST", "clock"): _move_clock,
    ("POST", "dlm/plant"): _plant_dlm,
    ("POST", "dlm/policy/*"): _force_policy,
    ("GET", "faults"): lambda: {"faults": faults.to_list()},
    ("POST", "faults"): _plant_faults,
    ("DELETE", "faults"): _clear(faults.clear),
    ("GET", "calls"): lambda: {"calls": calls.to_list()},
    ("DELETE", "calls"): _clear(calls.clear),
    ("GET", "sns/messages"): lambda: {"messages": messages.to_list()},
    ("DELETE", "sns/messages"): _clear(messages.clear),
    ("POST", "ec2/volumes/*"): control_ec2.change_volume,
    ("POST", "ec2/volumes/*/lose"): control_ec2.lose_volume,
    ("POST", "ec2/snapshots/*"): control_ec2.change_snapshot,
    ("POST", "ec2/volumes-end"): _plant_volume_end,
    ("POST", "autoscaling/late-launch"): _plant_late_launch,
    ("GET", "settings"): settings.to_dict,
    ("POST", "settings"): _change_settings,
    ("GET", "candidates"): candidates.to_dict,
    ("GET", "candidates/found"): lambda: {"found": candidates.found_now()},
    ("GET", "autoscaling/suspended"): lambda: {"groups": groups.suspended()},
    ("DELETE", "candidates"): _clear(candidates.clear),
    ("POST", "actors"): _act,
    ("POST", "crowd"): _copy_cluster,
    ("POST", "masters"): _watch_masters,
    ("GET", "masters"): lambda: {"events": masters.to_list()},
    ("DELETE", "masters"): _clear(masters.forget),
    ("POST", "iam/enforce"): _enforce,
    ("DELETE", "iam/enforce"): _clear(permissions.lift),
    ("GET", "iam/used"): permissions.to_dict,
    ("DELETE", "iam/used"): _clear(permissions.forget),
    ("POST", "fork"): _fork,
    ("POST", "stop"): _stop,
    ("POST", "reset"): lambda _: _clear(world.reset)(),
}
