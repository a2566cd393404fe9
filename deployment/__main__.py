"""Packs a release.

    python -m deployment BINARIES FOLDER

takes each function's binary (BINARIES/<name>/bootstrap as cargo-lambda leaves it, or
BINARIES/<name> as cargo does), and leaves in FOLDER a zip for each, the plain template, and
SHA256SUMS of them all. What a former release left there is gone. The environment variable
DOCUMENTATION_URL, where it is set, is what the template's alerts link to.
"""

import os
import sys
from pathlib import Path

from samcli.yamlhelper import yaml_parse

from .location import key_prefix, workspace_version
from .plain import binaries, plain, to_yaml
from .transform import TEMPLATE
from .zips import ENTRY, Unfit, check, checksums, pack

PLAIN_TEMPLATE = "etcd-backup.cfn.yaml"
CHECKSUMS = "SHA256SUMS"


def release(built: Path, folder: Path) -> list[Path]:
    """Makes the files, and says which."""
    names = sorted(binaries(yaml_parse(TEMPLATE.read_text())).values())
    found = {name: _binary(built, name) for name in names}
    for binary in found.values():
        check(binary)
    folder.mkdir(parents=True, exist_ok=True)
    for former in [*folder.glob("*.zip"), folder / PLAIN_TEMPLATE, folder / CHECKSUMS]:
        former.unlink(missing_ok=True)
    made = []
    for name, binary in found.items():
        made.append(folder / f"{name}.zip")
        pack(binary, made[-1])
    made.append(folder / PLAIN_TEMPLATE)
    made[-1].write_text(to_yaml(plain(os.environ.get("DOCUMENTATION_URL"))))
    sums = folder / CHECKSUMS
    sums.write_text(checksums(made))
    return [*made, sums]


def _binary(built: Path, name: str) -> Path:
    for path in (built / name / ENTRY, built / name):
        if path.is_file():
            return path
    raise Unfit(f"{built} has no binary of {name}")


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    built, folder = map(Path, sys.argv[1:])
    try:
        made = release(built, folder)
    except Unfit as unfit:
        sys.exit(str(unfit))
    print(f"etcd-backup {workspace_version()}, with the zips to be uploaded under {key_prefix()}:")
    for path in made:
        print(f"{path.stat().st_size:>10}  {path}")


if __name__ == "__main__":
    main()
