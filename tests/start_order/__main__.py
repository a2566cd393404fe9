"""Trying the orders of the start.

    python -m start_order --etcd PATH [--sets N] [--seconds-apart S]

Prints a line for each set and order, and at the end how many sets came up whole by order.
Exits with 1 where a set did not come up whole although its newest member was among the
first quorum.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from .cluster import take_set
from .orders import ORDERS, Trial


def main() -> int:
    parser = argparse.ArgumentParser(prog="start_order")
    parser.add_argument("--etcd", required=True, type=Path, help="the etcd server's binary")
    parser.add_argument("--sets", type=int, default=5, help="how many crashed sets to take")
    parser.add_argument("--seconds-apart", type=float, default=1.0, help="between two members' copies")
    arguments = parser.parse_args()
    etcd = arguments.etcd.resolve(strict=True)
    whole = dict.fromkeys(ORDERS, 0)
    for number in range(1, arguments.sets + 1):
        with tempfile.TemporaryDirectory(prefix="start-order-") as folder:
            taken = take_set(etcd, Path(folder), arguments.seconds_apart)
            print(f"set {number}: {taken.describe()}", flush=True)
            for order in ORDERS:
                outcome = Trial(etcd, taken, Path(folder)).run(order)
                whole[order] += outcome.is_whole
                print(f"  {order}: {outcome.describe()}", flush=True)
    print(f"of {arguments.sets} sets came up whole:")
    for order, count in whole.items():
        print(f"  {order}: {count}")
    return 0 if whole["newest among the first quorum"] == arguments.sets else 1


if __name__ == "__main__":
    sys.exit(main())
