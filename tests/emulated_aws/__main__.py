"""Starting the emulated AWS.

    python -m emulated_aws [--port N] [--state-clock RFC3339]
    python -m emulated_aws --pool

The first serves one AWS, prints one line of JSON with its endpoint and ends with its
standard input, so that it never outlives the test that started it. The second loads
everything once and then, for every line `new` (or `new RFC3339`, to set its clock) on
standard input, forks a fresh AWS and prints its line; all end with the parent.
"""

import argparse

from . import process


def main() -> None:
    parser = argparse.ArgumentParser(prog="emulated_aws")
    parser.add_argument("--port", type=int, default=0, help="0 takes any free port")
    parser.add_argument("--state-clock", metavar="RFC3339", help="the time at which the emulated AWS starts")
    parser.add_argument("--pool", action="store_true", help="fork a fresh AWS per line on standard input")
    arguments = parser.parse_args()
    if arguments.pool:
        process.serve_pool()
    else:
        process.serve_one(arguments.port, arguments.state_clock)


if __name__ == "__main__":
    main()
