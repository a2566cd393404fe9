"""Links lead somewhere, also to the right place in a page, and every page can be come by."""

import re
import subprocess
from pathlib import Path

import pytest

from .pages import REPOSITORY, Page, pages

PAGES = pages()
BY_PATH = {page.path: page for page in PAGES}


def resolved(page: Page, link: str) -> tuple[str, str]:
    """The path in the repository, and the anchor."""
    path, _, anchor = link.partition("#")
    target = (REPOSITORY / page.path).parent / path if path else REPOSITORY / page.path
    return str(target.resolve().relative_to(REPOSITORY)), anchor


def is_external(link: str) -> bool:
    return "://" in link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path)
def test_every_link_leads_somewhere(page: Page) -> None:
    wrong = []
    for link in page.links:
        if is_external(link):
            if not link.startswith("https://"):
                wrong.append(f"{link}: not https")
            continue
        path, anchor = resolved(page, link)
        if not (REPOSITORY / path).exists():
            wrong.append(f"{link}: no such file")
        elif anchor and anchor not in BY_PATH[path].anchors:
            wrong.append(f"{link}: no such heading")
    assert not wrong


def test_every_page_of_the_documentation_can_be_come_by_from_the_readme() -> None:
    seen: set[str] = set()
    ahead = ["README.md"]
    while ahead:
        path = ahead.pop()
        if path in seen or path not in BY_PATH:
            continue
        seen.add(path)
        page = BY_PATH[path]
        ahead += [resolved(page, link)[0] for link in page.links if not is_external(link)]
    documentation = {path for path in BY_PATH if path.startswith("docs/")}
    assert documentation - seen == set()


def test_pages_named_in_code_are_there() -> None:
    listed = subprocess.run(
        ["git", "grep", "--untracked", "-hoIE", r"docs/[a-z/-]+\.md(#[A-Za-z_-]+)?", "--", ":!*.md"],
        cwd=REPOSITORY,
        check=False,
        capture_output=True,
        text=True,
    )
    for named in sorted(set(listed.stdout.split())):
        path, _, anchor = named.partition("#")
        assert path in BY_PATH, named
        assert not anchor or anchor in BY_PATH[path].anchors, named


def test_alerts_name_the_page_of_findings_by_its_place() -> None:
    links = (REPOSITORY / "shared/core/src/alert/links.rs").read_text()
    folder = re.search(r'const DOCUMENTATION: &str = "(.+)"', links)
    page = re.search(r'const FINDINGS: &str = "(.+)"', links)
    assert folder
    assert page
    assert f"{folder.group(1)}/{page.group(1)}" in BY_PATH


def test_no_two_headings_of_a_page_are_the_same() -> None:
    for page in PAGES:
        # The change log repeats its headings in each release.
        if page.path != "CHANGELOG.md":
            assert len(page.titles) == len(set(page.titles)), page.path


def test_the_readme_is_an_introduction_and_no_reference() -> None:
    assert len(BY_PATH["README.md"].text.splitlines()) <= 150


def test_files_named_in_backticks_in_contributors_pages_are_there() -> None:
    """Paths of the code, in the pages for those who change it."""
    for path in ("CONTRIBUTING.md", "ARCHITECTURE.md"):
        named = re.findall(r"`((?:functions|shared|tests|events|docs)/[\w./-]+)`", BY_PATH[path].text)
        assert named, path
        missing = [name for name in named if not Path(REPOSITORY / name).exists()]
        assert not missing, path
