"""A release: its zips, its version, what the Serverless Application Repository is told of it."""

import os
import re
import subprocess
import zipfile
from pathlib import Path

import pytest
import yaml
from deployment import zips
from deployment.location import workspace_version

from ..deploy import FUNCTIONS
from .conftest import REPOSITORY, read_yaml

ELF = zips.ELF_64_BIT_LITTLE_ENDIAN.ljust(18, b"\0") + zips.X86_64


def binary(folder: Path, contents: bytes, modified: int = 0) -> Path:
    path = folder / f"binary-{modified}"
    path.write_bytes(contents)
    os.utime(path, (modified, modified))
    return path


def test_a_zip_is_the_same_whenever_it_is_packed(tmp_path: Path) -> None:
    packed = []
    for modified in (1_000_000_000, 1_700_000_000):
        path = binary(tmp_path, ELF * 1000, modified)
        path.chmod(0o600 if modified % 3 else 0o755)
        zips.pack(path, tmp_path / f"{modified}.zip")
        packed.append((tmp_path / f"{modified}.zip").read_bytes())
    assert packed[0] == packed[1]
    with zipfile.ZipFile(tmp_path / "1000000000.zip") as archive:
        (entry,) = archive.infolist()
        assert (entry.filename, archive.read(entry)) == ("bootstrap", ELF * 1000)
    assert entry.external_attr >> 16 == 0o100755, "Lambda must be able to run it"


def test_checksums_are_as_sha256sum_reads_them(tmp_path: Path) -> None:
    files = [tmp_path / "a.zip", tmp_path / "b.yaml"]
    for path in files:
        path.write_text(path.name)
    (tmp_path / "SHA256SUMS").write_text(zips.checksums(files))
    check = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    assert subprocess.run(check, cwd=tmp_path, check=False).returncode == 0
    files[0].write_text("another")
    assert subprocess.run(check, cwd=tmp_path, check=False).returncode != 0


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"#!/bin/sh", "no program for x86_64"),
        (ELF[:18] + b"\xb7\x00", "no program for x86_64"),
        (ELF + b"\0GLIBC_2.17\0GLIBC_2.36\0", "needs glibc 2.36"),
    ],
)
def test_what_lambda_would_not_start_is_refused(tmp_path: Path, contents: bytes, message: str) -> None:
    with pytest.raises(zips.Unfit, match=message):
        zips.check(binary(tmp_path, contents))


def test_what_lambda_starts_is_taken(tmp_path: Path) -> None:
    zips.check(binary(tmp_path, ELF + b"\0GLIBC_2.2.5\0GLIBC_2.34\0GLIBC_PRIVATE\0"))
    assert zips.glibc_needed(b"\0GLIBC_2.2.5\0GLIBC_2.17\0") == (2, 17)


def test_one_version_stands_everywhere() -> None:
    version = workspace_version()
    application = read_yaml((REPOSITORY / "template.yaml").read_text())["Metadata"]["AWS::ServerlessRepo::Application"]
    assert application["SemanticVersion"] == version
    released = re.findall(r"^## (\d+\.\d+\.\d+)", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert released[0] == version
    for manifest in REPOSITORY.glob("*/*/Cargo.toml"):
        if "target" not in manifest.parts:
            assert "version.workspace = true" in manifest.read_text(), manifest


def test_the_repository_of_applications_takes_what_it_is_told() -> None:
    application = read_yaml((REPOSITORY / "template.yaml").read_text())["Metadata"]["AWS::ServerlessRepo::Application"]
    assert re.fullmatch(r"[a-zA-Z0-9-]{1,140}", application["Name"])
    assert re.fullmatch(r"[a-z0-9]([a-z0-9]|-(?!-)){0,126}[a-z0-9]", application["Author"])
    assert 1 <= len(application["Description"]) <= 256
    assert len(application["Labels"]) <= 10
    assert all(re.fullmatch(r"[a-zA-Z0-9+_:/@-]{1,127}", label) for label in application["Labels"])
    for name in ("LicenseUrl", "ReadmeUrl"):
        assert (REPOSITORY / application[name]).is_file(), name
    assert application["SpdxLicenseId"] in (REPOSITORY / "Cargo.toml").read_text()


def test_panics_unwind_in_what_is_built_for_lambda() -> None:
    """cargo-lambda makes them abort where the profile says nothing."""
    profile = (REPOSITORY / "Cargo.toml").read_text().partition("[profile.release]")[2]
    assert 'panic = "unwind"' in profile


def test_workflows_call_make_alone_and_pin_what_they_use() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    workflows = sorted((REPOSITORY / ".github/workflows").glob("*.yml"))
    assert [path.stem for path in workflows] == ["release", "test"]
    for path in workflows:
        workflow = yaml.safe_load(path.read_text())
        assert workflow["permissions"] == {"contents": "read"}
        for job in workflow["jobs"].values():
            assert job["timeout-minutes"]
            for step in job["steps"]:
                called = re.fullmatch(r"make ([a-z-]+)", step.get("run", ""))
                pinned = re.fullmatch(r"[a-z/-]+@[0-9a-f]{40}", step.get("uses", ""))
                assert pinned or (called and called[1] in targets), step


def test_a_release_links_its_alerts_to_its_own_documentation(tmp_path: Path) -> None:
    built = tmp_path / "built"
    built.mkdir()
    for name in FUNCTIONS:
        (built / name).write_bytes(ELF)
    python = REPOSITORY / ".venv-sam/bin/python"
    url = "https://example.org/v1/docs"
    environment = {"AWS_DEFAULT_REGION": "eu-west-2", "DOCUMENTATION_URL": url}
    for _ in range(2):
        subprocess.run(
            [python, "-m", "deployment", built, tmp_path / "dist"], cwd=REPOSITORY, env=environment, check=True
        )
    made = sorted(path.name for path in (tmp_path / "dist").iterdir())
    assert made == sorted([*(f"{name}.zip" for name in FUNCTIONS), "etcd-backup.cfn.yaml", "SHA256SUMS"])
    template = read_yaml((tmp_path / "dist/etcd-backup.cfn.yaml").read_text())
    assert template["Parameters"]["DocumentationUrl"]["Default"] == url
    (built / FUNCTIONS[0]).unlink()
    refused = subprocess.run(
        [python, "-m", "deployment", built, tmp_path / "none"],
        cwd=REPOSITORY, env=environment, check=False, capture_output=True, text=True,
    )
    assert refused.returncode == 1 and f"no binary of {FUNCTIONS[0]}" in refused.stderr
    assert not (tmp_path / "none").exists()
