"""The project's pages: their headings, links, blocks of code and tables."""

import re
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

REPOSITORY = Path(__file__).parents[2]

# What HTML inside a page refers to; of a srcset, every part is a file and a width or nothing.
_HTML_REFERENCE = re.compile(r'\b(?:href|src|srcset)="([^"]+)"')


@dataclass(frozen=True)
class Block:
    """A block of code."""

    language: str
    text: str
    line: int


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it, up to the next heading of any level."""

    title: str
    level: int
    text: str


@dataclass(frozen=True)
class Page:
    """A page, by its path in the repository."""

    path: str

    @cached_property
    def text(self) -> str:
        return (REPOSITORY / self.path).read_text()

    @cached_property
    def tokens(self) -> list[Token]:
        return markdown().parse(self.text)

    @cached_property
    def titles(self) -> list[str]:
        return [title for _, title, _ in self._headings()]

    @cached_property
    def anchors(self) -> set[str]:
        """As GitHub gives them."""
        seen: dict[str, int] = {}
        anchors = set()
        for title in self.titles:
            anchor = anchor_of(title)
            count = seen.get(anchor, 0)
            seen[anchor] = count + 1
            anchors.add(f"{anchor}-{count}" if count else anchor)
        return anchors

    @cached_property
    def links(self) -> list[str]:
        """All that it links to or shows."""
        links = []
        for token in self._all_tokens():
            if token.type in ("link_open", "image"):
                links.append(str(token.attrGet("href") or token.attrGet("src")))
            elif token.type in ("html_block", "html_inline"):
                links += _HTML_REFERENCE.findall(token.content)
        return links

    @cached_property
    def blocks(self) -> list[Block]:
        fences = [token for token in self.tokens if token.type == "fence"]
        return [
            Block(token.info.strip(), token.content, (token.map or [0])[0] + 1)
            for token in fences
        ]

    @cached_property
    def sections(self) -> list[Section]:
        lines = self.text.splitlines()
        headings = self._headings()
        ends = [line for _, _, line in headings[1:]] + [len(lines)]
        return [
            Section(title, level, "\n".join(lines[line + 1 : end]))
            for (level, title, line), end in zip(headings, ends, strict=True)
        ]

    def section(self, title: str) -> Section:
        """The section of this title."""
        found = [section for section in self.sections if section.title == title]
        assert len(found) == 1, f"{self.path}: {len(found)} sections called {title!r}"
        return found[0]

    def below(self, title: str) -> str:
        """The text of the section of this title and of those below it."""
        sections = iter(self.sections)
        first = next(section for section in sections if section.title == title)
        texts = [first.text]
        for section in sections:
            if section.level <= first.level:
                break
            texts.append(section.text)
        return "\n".join(texts)

    def _headings(self) -> list[tuple[int, str, int]]:
        """Level, title and line, counted from 0."""
        headings = []
        for opening, inline in zip(self.tokens, self.tokens[1:], strict=False):
            if opening.type == "heading_open":
                title = "".join(child.content for child in inline.children or [])
                headings.append((int(opening.tag[1]), title, (opening.map or [0])[0]))
        return headings

    def _all_tokens(self) -> list[Token]:
        return [
            inner for token in self.tokens for inner in [token, *(token.children or [])]
        ]


def markdown() -> MarkdownIt:
    """A reader of GitHub's Markdown, as far as the pages use it."""
    return MarkdownIt("commonmark").enable(["table", "strikethrough"])


def anchor_of(title: str) -> str:
    """The anchor that GitHub gives a heading."""
    kept = re.sub(r"[^\w\- ]", "", title.strip().lower())
    return kept.replace(" ", "-")


def rows(text: str) -> list[list[str]]:
    """The cells of all rows of the tables in a text, but for their heads."""
    rows: list[list[str]] = []
    is_body = False
    for line in text.splitlines():
        if not line.startswith("|"):
            is_body = False
        elif re.fullmatch(r"[|\s:-]+", line):
            is_body = True
        elif is_body:
            cells = re.split(r"(?<!\\)\|", line.strip().strip("|"))
            rows.append([cell.strip() for cell in cells])
    return rows


def code_spans(text: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`\n]+)`", text)


def pages() -> list[Page]:
    """Every page that is in the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
    )
    paths = [path for path in listed.stdout.splitlines() if (REPOSITORY / path).exists()]
    # The widget's documentation is CloudWatch's to render, and has none of its own links.
    return [Page(path) for path in paths if not path.startswith("functions/")]
