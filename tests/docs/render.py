"""Pages and pictures as Chromium renders them.

`python -m docs.render pictures` makes the pictures of docs/pictures/ from what the demo left in
target/demo/. `python -m docs.render pages` renders every page, light and dark, into target/pages/, for
a person to look at; it fails where a Mermaid diagram can't be drawn.
"""

import html
import re
import shutil
import subprocess
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path

from .pages import REPOSITORY, Page, anchor_of, markdown, pages

TARGET = REPOSITORY / "target"
PICTURES = REPOSITORY / "docs" / "pictures"
CALENDAR = TARGET / "demo" / "calendar.html"
RENDERED = TARGET / "pages"
# npm's mermaid, as the Makefile installs it there.
MERMAID = RENDERED / "node_modules" / "mermaid" / "dist" / "mermaid.min.js"

# Of a picture, in CSS pixels; the README shows it as wide.
PICTURE_WIDTH = 760
PAGE_WIDTH = 1012
PIXELS_PER_PIXEL = 2
# Chromium's own limit of a side.
HEIGHT_MAX = 16_000

# The colours and sizes that GitHub gives Markdown, as far as they matter to how a page looks.
STYLE = """
:root{color-scheme:light dark}
body{font:16px/1.5 -apple-system,'Segoe UI',Helvetica,Arial,sans-serif;margin:32px auto;max-width:948px;
 padding:0 32px;color:#1f2328;background:#fff}
h1,h2{border-bottom:1px solid #d1d9e0;padding-bottom:.3em} a{color:#0969da;text-decoration:none}
code{background:#eff1f3;border-radius:6px;padding:.2em .4em;font:85% ui-monospace,monospace}
pre{background:#f6f8fa;border-radius:6px;padding:16px;overflow:auto;line-height:1.45} pre code{padding:0;background:none}
table{border-collapse:collapse;display:block;overflow:auto} th,td{border:1px solid #d1d9e0;padding:6px 13px}
img{max-width:100%} .mermaid{text-align:center;margin:16px 0}
body.dark{color:#f0f6fc;background:#0d1117} .dark h1,.dark h2{border-color:#3d444d} .dark a{color:#4493f8}
.dark code{background:#262c36} .dark pre{background:#151b23} .dark th,.dark td{border-color:#3d444d}
.dark pre code{background:none}
"""


class Frames(HTMLParser):
    """The documents in a page's frames, by the frames' titles."""

    def __init__(self) -> None:
        super().__init__()
        self.documents: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag == "iframe":
            self.documents[attributes["title"] or ""] = attributes["srcdoc"] or ""


def chromium(*arguments: str) -> str:
    """Runs Chromium without a window, and gives what it printed."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        sys.exit("Chromium is needed, as chromium, chromium-browser or google-chrome")
    ran = subprocess.run(
        [
            program,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--allow-file-access-from-files",
            f"--force-device-scale-factor={PIXELS_PER_PIXEL}",
            "--virtual-time-budget=20000",
            *arguments,
        ],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return ran.stdout


def screenshot(document: str, width: int, picture: Path) -> str:
    """Renders a document as high as it is, and gives it as it stood when it was rendered."""
    measure = "<script>addEventListener('load',()=>setTimeout(()=>document.documentElement.dataset.height=document.documentElement.scrollHeight,2000))</script>"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "page.html"
        file.write_text(document + measure)
        address = file.as_uri()
        seen = chromium(f"--window-size={width},100", "--dump-dom", address)
        height = re.search(r'data-height="(\d+)"', seen)
        if height is None:
            sys.exit(f"{picture} could not be measured")
        size = f"{width},{min(int(height.group(1)), HEIGHT_MAX)}"
        picture.parent.mkdir(parents=True, exist_ok=True)
        chromium(f"--window-size={size}", f"--screenshot={picture}", address)
    return seen


def make_pictures() -> None:
    """The calendar, as the audit draws it in the demo."""
    frames = Frames()
    frames.feed(CALENDAR.read_text())
    for theme in ("light", "dark"):
        picture = PICTURES / f"calendar-{theme}.png"
        screenshot(frames.documents[theme], PICTURE_WIDTH, picture)
        print(picture.relative_to(REPOSITORY))


def document_of(page: Page, theme: str) -> str:
    """A page as a document of its own."""
    reader = markdown()

    def fence(tokens: list, index: int, options: object, environment: object) -> str:
        token = tokens[index]
        text = html.escape(token.content)
        if token.info.strip() == "mermaid":
            return f'<pre class="mermaid">{text}</pre>\n'
        return f"<pre><code>{text}</code></pre>\n"

    reader.add_render_rule("fence", lambda self, *rest: fence(*rest[:4]))
    tokens = reader.parse(page.text)
    for opening, inline in zip(tokens, tokens[1:], strict=False):
        if opening.type == "heading_open":
            opening.attrSet("id", anchor_of("".join(child.content for child in inline.children or [])))
    body = reader.renderer.render(tokens, reader.options, {})
    folder = (REPOSITORY / page.path).parent.as_uri()
    if theme == "dark":
        # Chromium takes its own preference; the page says which picture is meant.
        body = body.replace('media="(prefers-color-scheme: dark)"', "")
    else:
        body = re.sub(r"<source [^>]*>", "", body)
    mermaid_theme = "dark" if theme == "dark" else "default"
    return (
        f'<!doctype html><html><head><meta charset="utf-8"><base href="{folder}/"><title>{page.path}</title>'
        f'<style>{STYLE}</style></head><body class="{theme}">{body}'
        f'<script src="{MERMAID.as_uri()}"></script>'
        f"<script>mermaid.initialize({{startOnLoad:true,theme:'{mermaid_theme}'}})</script>"
    )


def render_pages(wanted: list[str]) -> None:
    """Every page, or those whose path holds one of the words."""
    if not MERMAID.exists():
        sys.exit(f"mermaid is needed in {RENDERED}: npm install --prefix {RENDERED} mermaid")
    for page in pages():
        if wanted and not any(word in page.path for word in wanted):
            continue
        for theme in ("light", "dark"):
            picture = RENDERED / f"{page.path.replace('/', '-')}-{theme}.png"
            seen = screenshot(document_of(page, theme), PAGE_WIDTH, picture)
            diagrams = sum(block.language == "mermaid" for block in page.blocks)
            drawn = len(re.findall(r'<svg[^>]*id="mermaid-', seen))
            if drawn != diagrams or "Syntax error in text" in seen:
                sys.exit(f"{page.path}: a Mermaid diagram can't be drawn ({drawn} of {diagrams} are)")
            print(picture.relative_to(REPOSITORY))


def main() -> None:
    """Does what the first argument says."""
    match sys.argv[1:]:
        case ["pictures"]:
            make_pictures()
        case ["pages", *wanted]:
            render_pages(wanted)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
