"""Restarts a set with real etcd, and compares what happens with what was said of it beforehand."""

import json
import random
import subprocess

from cluster import Cluster, run

# A member that doesn't serve within this time, beside others that do, never will.
SERVES_SECONDS = 25


def judge(program, etcd_cluster, images):
    """What the reader says of the images."""
    arguments = [program, etcd_cluster, *(f"{name}={image}" for name, image in sorted(images.items()))]
    return json.loads(subprocess.run([str(part) for part in arguments], check=True, capture_output=True, text=True).stdout)


def serves(member):
    """etcd-manager starts an etcd that died again. Up to 3.5.1, etcd dies once where it takes a database that a
    leader had sent (etcd's pull request 13501)."""
    revision = member.serves(SERVES_SECONDS)
    if revision is None and not member.alive():
        member.start(initial_state="existing")
        revision = member.serves(SERVES_SECONDS)
    return revision


def restart(directory, binaries, made, said):
    """Starts the members that must come first, waits until they serve, then the rest; gives the revision of each
    that serves, and how many objects of a kind there were at each member's revision, where etcd still knows that."""
    sound = [member["member"] for member in said["members"] if member["verdict"] in ("restorable", "degraded")]
    wait_for = [name for name in sound if name not in learners(said)] if said["revision"] else []
    first = list(said["start_first"])
    cluster = Cluster(directory, binaries, made.version, names=made.names, token=made.token, etcd_cluster=made.etcd_cluster)
    try:
        for name, image in made.images.items():
            member = cluster.members[name]
            run("cp", "--reflink=auto", "--sparse=always", image, member.image)
            run("e2fsck", "-p", member.image, check=False)
            member.mount_volume()
        served = {}
        rest = [name for name in made.images if name not in first]
        for wave in [first, rest]:
            random.shuffle(wave)
            for name in wave:
                cluster.members[name].start(initial_state="existing")
            for name in wave:
                if name in wait_for:
                    served[name] = serves(cluster.members[name])
        for name in made.images:
            if name not in wait_for:
                served[name] = cluster.members[name].serves(4)
        serving = [name for name, revision in served.items() if revision is not None]
        counted = count(cluster.members[serving[0]].client(), said) if serving else {}
        return served, counted
    finally:
        cluster.end()


def learners(said):
    return {member["member"] for member in said["members"] if any("learner" in warning for warning in member["warnings"])}


PREFIXES = {"pods": "pods/", "secrets": "secrets/", "leases": "leases/", "events": "events/", "services": "services/specs/"}


def count(client, said):
    """Objects at the revision of each member's database, as etcd counts them."""
    counted = {}
    for member in said["members"]:
        if member["verdict"] == "restorable":
            try:
                counted[member["member"]] = {
                    kind: client.count("/registry/" + prefix, member["revision"]) for kind, prefix in PREFIXES.items()
                }
            except RuntimeError:
                pass  # compacted, or not reached by the log that won
    return counted


def compare(said, served, counted):
    """Sentences on what was said and didn't happen."""
    wrong = []
    for member in said["members"]:
        for kind, number in counted.get(member["member"], {}).items():
            if member["objects"].get(kind, 0) != number:
                wrong.append(f"{member['member']} was said to hold {member['objects'].get(kind, 0)} {kind}, and etcd counts {number}")
    sound = {member["member"] for member in said["members"] if member["verdict"] in ("restorable", "degraded")}
    # These start, and serve what no other member holds, sooner or later.
    reasons = ("ahead of every", "contradicts")
    diverging = {member["member"] for member in said["members"] if any(reason in p for p in member["problems"] for reason in reasons)}
    served = {name: revision for name, revision in served.items() if name not in diverging}
    starts = said["verdict"] in ("restorable", "degraded")
    revisions = {name: revision for name, revision in served.items() if revision is not None}
    if starts:
        for name in sound - set(revisions) - learners(said):
            wrong.append(f"{name} was said to be sound and doesn't serve")
        for name, revision in revisions.items():
            if not said["revision"]["at_least"] <= revision <= said["revision"]["at_most"]:
                wrong.append(f"{name} serves at revision {revision}, not in {said['revision']}")
        for name in set(revisions) - sound:
            wrong.append(f"{name} was said to be damaged and serves")
    elif revisions:
        wrong.append(f"the set was said not to start, and {sorted(revisions)} serve")
    return wrong
