"""What MkDocs cannot do by itself: pages stay as they are read on a git host.

- ``adr/*`` in the navigation stands for all decisions.
- Pages that lie elsewhere, and sources and folders that pages link to, are pages as well.
- A link that is named like its file has the title of the page instead.
- What a fence says after its language, such as a file's name, is its title.
- The search, a dialog, has a name for those who hear the page.
- Fonts and the mark come from where they are vendored.
"""

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
#: Of the operator pages.
STATIC = ROOT / "gateway_app/static/ops"
VENDORED = {
    "site/mark.svg": STATIC / "mark.svg",
    "site/inter.woff2": STATIC / "vendor/inter-latin-wght-normal.woff2",
    "site/mono.woff2": STATIC / "vendor/jetbrains-mono-latin-wght-normal.woff2",
}
#: Pages that lie elsewhere in the repository.
OUTER_PAGES = ("CHANGELOG.md", "CONTRIBUTING.md", "examples/shop/README.md")
#: Source files that pages link to, and that are therefore shown.
SOURCES = "source/"
LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?\))")
NAMED = re.compile(r"\[[\w./-]+\.md\](\(([\w./-]+\.md)\))")
FENCE = re.compile(r"^```(\w+) +([^={}\n]+)$", re.MULTILINE)
FENCED = re.compile(r"^(```.*?^```$)", re.MULTILINE | re.DOTALL)
LANGUAGES = {".py": "python", ".yml": "yaml", ".yaml": "yaml", ".js": "js", ".json": "json"}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Name the decisions one by one."""
    decisions = sorted(
        str(path.relative_to(config.docs_dir))
        for path in Path(config.docs_dir, "adr").glob("*.md")
    )
    config.nav = _expanded(config.nav, decisions)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is not in the folder of the documents."""
    for uri, path in VENDORED.items():
        files.append(File.generated(config, uri, abs_src_path=str(path)))
    for name in OUTER_PAGES:
        files.append(File.generated(config, name, content=_moved(name)))
    for name in sorted(_linked(files)):
        shown = File.generated(config, _page_of(name), content=_shown(name))
        shown.inclusion = InclusionLevel.NOT_IN_NAV
        files.append(shown)
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Lead links out of the folder to the pages made for them, and give fences their titles."""
    folder = Path(page.file.src_uri).parent
    depth = "../" * len(folder.parts)

    def led(found: re.Match[str]) -> str:
        name = _shown_apart(folder, found[2])
        if name is None:
            return found[0]
        target = name if name in OUTER_PAGES else _page_of(name)
        return f"{found[1]}{depth}{target}{found[3]}"

    def titled(found: re.Match[str]) -> str:
        target = (ROOT / "docs" / folder / found[2]).resolve()
        return f"[{_title_of(target)}]{found[1]}" if target.is_file() else found[0]

    parts = FENCED.split(markdown)
    prose = [
        part if FENCED.match(part) else LINK.sub(led, NAMED.sub(titled, part)) for part in parts
    ]
    return FENCE.sub(r'```\1 title="\2"', "".join(prose))


def on_post_page(output: str, **_: Any) -> str:
    """Name the dialog that the theme leaves without a name."""
    dialog = 'data-md-component="search" role="dialog"'
    return output.replace(dialog, f'{dialog} aria-label="Search"')


def _title_of(page: Path) -> str:
    """Return the title of a page, without what a colon adds to it."""
    return page.read_text().partition("\n")[0].removeprefix("# ").partition(":")[0]


def _expanded(entries: Any, decisions: list[str]) -> Any:
    match entries:
        case list():
            nested = [_expanded(each, decisions) for each in entries]
            return [one for each in nested for one in (each if isinstance(each, list) else [each])]
        case dict():
            return {title: _expanded(below, decisions) for title, below in entries.items()}
        case "adr/*":
            return decisions
    return entries


def _shown_apart(folder: Path, link: str) -> str | None:
    """Return what a link means in the repository if that is no page or file of the documents."""
    if "://" in link:
        return None
    target = (ROOT / "docs" / folder / link).resolve()
    if target.is_file() and target.is_relative_to(ROOT / "docs"):
        return None
    return str(target.relative_to(ROOT)) if target.exists() else None


def _linked(files: Files) -> set[str]:
    """Return the sources and folders that pages link to."""
    found = set()
    for file in files.documentation_pages():
        for _, link, _ in LINK.findall(FENCED.sub("", file.content_string)):
            name = _shown_apart(Path(file.src_uri).parent, link)
            if name is not None and name not in OUTER_PAGES:
                found.add(name)
    return found


def _page_of(name: str) -> str:
    return f"{SOURCES}{name}.md"


def _shown(name: str) -> str:
    """Return the page of a source file, or of a folder of the documents."""
    path = ROOT / name
    head = f"---\nsearch: {{exclude: true}}\n---\n# {name}\n\n"
    if path.is_dir():
        return head + "".join(f"- {each}\n" for each in _entries(name))
    return f"{head}````{LANGUAGES.get(path.suffix, 'text')}\n{path.read_text()}````\n"


def _entries(name: str) -> list[str]:
    """Return the files of a folder: links where they are documents' own, else their names."""
    up = "../" * len(Path(_page_of(name)).parent.parts)
    docs = ROOT / "docs"
    files = [path for path in sorted((ROOT / name).rglob("*")) if path.is_file()]
    return [
        f"[{path.name}]({up}{path.relative_to(docs)})"
        if path.is_relative_to(docs)
        else f"`{path.relative_to(ROOT / name)}`"
        for path in files
        if not path.name.startswith(".") and path.suffix != ".pyc"
    ]


def _moved(name: str) -> str:
    """Return an outer page as one of the documents' folder, where it has the same path."""
    folder = Path(name).parent

    def moved(found: re.Match[str]) -> str:
        if "://" in found[2]:
            return found[0]
        target = (ROOT / folder / found[2]).resolve()
        return f"{found[1]}{os.path.relpath(target, ROOT / 'docs' / folder)}{found[3]}"

    text = (ROOT / name).read_text()
    parts = FENCED.split(text)
    return "".join(part if FENCED.match(part) else LINK.sub(moved, part) for part in parts)
