"""The reference is what the code has, and the site leaves no page out."""

import hashlib
import re
from typing import Any, Final

import pytest
import yaml
from django.core.management import get_commands

import messaging
import messaging.errors
import messaging.testing
from gateway_app.settings import KNOWN_ENVIRONMENT
from messaging.errors import HandlerSignal, MessagingError
from tests.docs import programs
from tests.docs.blocks import PAGES, path_of
from tests.support import reference_pages
from tests.support.processes import ROOT

DOCS: Final = ROOT / "docs"
REFERENCE: Final = "".join(path.read_text() for path in (DOCS / "reference").glob("*.md"))
SHOWN: Final = set(re.findall(r"^::: (\S+)$", REFERENCE, re.MULTILINE))
#: Of docs/site/iframe-worker.js.
VENDORED: Final = "1881811aceafbb0a79b245826237b5809839355e3d9089d21303994669c7c69a"
ERRORS: Final = {
    name
    for name in messaging.__all__
    if isinstance(getattr(messaging, name), type)
    and issubclass(getattr(messaging, name), MessagingError | HandlerSignal)
}


def test_the_page_of_settings_is_what_the_code_has() -> None:
    """`python -m tests.support.reference_pages` writes it anew."""
    assert reference_pages.SETTINGS.read_text() == reference_pages.settings_page()


def test_the_page_of_commands_is_what_the_commands_say() -> None:
    """`python -m tests.support.reference_pages` writes it anew."""
    assert reference_pages.COMMANDS.read_text() == reference_pages.commands_page()


def test_every_name_that_is_read_from_the_environment_is_on_a_page() -> None:
    pages = "".join(
        (DOCS / name).read_text() for name in ("production.md", "reference/settings.md")
    )
    own = {name for name in KNOWN_ENVIRONMENT if not name.startswith("MESSAGING_")}
    assert {name for name in own if f"`{name}`" not in pages} == set()


def test_all_that_is_public_is_in_the_reference() -> None:
    """Errors are shown with their module."""
    public = {f"messaging.{name}" for name in set(messaging.__all__) - ERRORS}
    public |= {f"messaging.testing.{name}" for name in messaging.testing.__all__}
    assert public <= SHOWN
    assert {"messaging.errors", "messaging.events", "messaging.testing.plugin"} <= SHOWN
    assert all(hasattr(messaging.errors, name) for name in ERRORS)


def test_every_page_is_in_the_navigation() -> None:
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    named = set(_leaves(nav))
    pages = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")}
    assert {page for page in pages if not page.startswith("adr/")} <= named
    assert "adr/*" in named  # docs/site/hooks.py names each of them
    assert {name for name in named - pages if not (ROOT / name).exists()} == {"adr/*"}


def _leaves(nav: Any) -> list[str]:
    match nav:
        case str():
            return [nav]
        case dict():
            return _leaves(list(nav.values()))
        case _:
            return [leaf for each in nav for leaf in _leaves(each)]


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md"])
def test_links_lead_to_files_on_a_git_host(page: str) -> None:
    """The site looks at those within it, and at their anchors; here they are of the repository."""
    path = path_of(page)
    prose = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"\]\(([^)\s#]+)(?:#[^)\s]*)?\)", prose)
    missing = [link for link in links if "://" not in link and not (path.parent / link).exists()]
    assert missing == []


def test_what_was_vendored_for_the_site_is_what_is_shipped() -> None:
    script = DOCS / "site" / "iframe-worker.js"
    assert hashlib.sha256(script.read_bytes()).hexdigest() == VENDORED
    assert "iframe-worker 1.0.4" in script.read_text().partition("\n")[0]
    assert script.with_suffix(".txt").read_text().startswith("Copyright")


@pytest.mark.parametrize("page", PAGES)
def test_settings_commands_and_targets_that_a_page_names_are_there(page: str) -> None:
    """Those in its sentences as well."""
    text = path_of(page).read_text()
    settings = set(re.findall(r"\bMESSAGING_[A-Z_]*[A-Z]\b", text))
    assert settings <= KNOWN_ENVIRONMENT
    commands = set(re.findall(r"manage\.py ([a-z_]+)", text))
    of_examples = {path.stem for path in ROOT.glob("examples/**/management/commands/[a-z]*.py")}
    assert commands <= set(get_commands()) | of_examples
    targets = set(re.findall(r"`make ([a-z-]+)", text))
    assert targets <= set(re.findall(r"^([a-z-]+):.*## ", programs.MAKEFILE, re.MULTILINE))
