"""A release's zips: one for each function, and the same bytes whenever the binaries are the same."""

import hashlib
import re
import zipfile
from pathlib import Path

# What Lambda starts in a zip for provided.al2023.
ENTRY = "bootstrap"
# The earliest that a zip can say: not when it was packed.
PACKED_AT = (1980, 1, 1, 0, 0, 0)
REGULAR_FILE_FOR_ALL_TO_RUN = 0o100755
UNIX = 3
# glibc of provided.al2023, and what a binary says that it needs in its table of dynamic strings.
GLIBC_OF_LAMBDA = (2, 34)
GLIBC_NEEDED = re.compile(rb"\0GLIBC_(\d+)\.(\d+)(?:\.\d+)?(?=\0)")
ELF_64_BIT_LITTLE_ENDIAN = b"\x7fELF\x02\x01"
X86_64 = b"\x3e\x00"


class Unfit(Exception):
    """A binary that Lambda would not start."""


def check(path: Path) -> None:
    """Refuses what Lambda would not start."""
    binary = path.read_bytes()
    if not binary.startswith(ELF_64_BIT_LITTLE_ENDIAN) or binary[18:20] != X86_64:
        raise Unfit(f"{path} is no program for x86_64 Linux")
    needed = glibc_needed(binary)
    if needed > GLIBC_OF_LAMBDA:
        of = ".".join(map(str, GLIBC_OF_LAMBDA))
        raise Unfit(f"{path} needs glibc {needed[0]}.{needed[1]}, and Lambda's provided.al2023 has {of}")


def glibc_needed(binary: bytes) -> tuple[int, int]:
    """The newest version of glibc that a symbol is wanted of."""
    versions = [(int(major), int(minor)) for major, minor in GLIBC_NEEDED.findall(binary)]
    return max(versions, default=(0, 0))


def pack(binary: Path, into: Path) -> None:
    """Writes a zip that holds the binary alone."""
    entry = zipfile.ZipInfo(ENTRY, PACKED_AT)
    entry.create_system = UNIX
    entry.external_attr = REGULAR_FILE_FOR_ALL_TO_RUN << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(into, "w") as archive:
        archive.writestr(entry, binary.read_bytes(), compresslevel=9)


def checksums(paths: list[Path]) -> str:
    """As `sha256sum --check` reads them."""
    digests = ((hashlib.sha256(path.read_bytes()).hexdigest(), path.name) for path in paths)
    return "".join(f"{digest}  {name}\n" for digest, name in digests)
