"""What browsers load: exactly what was vendored, small, and nothing that the policy forbids."""

import gzip
import hashlib
import re
import tomllib
from pathlib import Path

import pytest

from gateway_app.http.static_files import with_static_files
from tests.support.asgi import AsgiClient

ROOT = Path(__file__).resolve().parents[3] / "gateway_app"
STATIC = ROOT / "static" / "ops"
VENDOR = STATIC / "vendor"
FILES = tomllib.loads((VENDOR / "VENDOR.toml").read_text())["file"]
TEMPLATES = sorted((ROOT / "templates" / "ops").rglob("*.html"))


def test_what_was_vendored_is_what_is_served() -> None:
    named = {each["path"] for each in FILES}
    there = {file.name for file in VENDOR.iterdir() if file.is_file()}
    assert named == there - {"VENDOR.toml"}
    for each in FILES:
        content = (VENDOR / each["path"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == each["sha256"], each["path"]
        assert (VENDOR / each["licence_text"]).read_text().strip()


@pytest.mark.parametrize(("pattern", "most"), [("*.js", 60_000), ("*.css", 12_000)])
def test_a_cold_load_stays_in_its_budget(pattern: str, most: int) -> None:
    """Of what every page loads, and the most that one adds of its own and of others."""
    sizes = {
        folder: [
            len(gzip.compress(file.read_bytes()))
            for file in (STATIC / folder).glob(pattern)
            if "dagre" not in file.name  # the map loads it, and not uPlot, which is larger
        ]
        for folder in (".", "pages", "vendor")
    }
    assert sum(sizes["."]) + max(sizes["pages"]) + sum(sizes["vendor"]) <= most


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_templates_have_nothing_that_the_policy_forbids(template: Path) -> None:
    text = template.read_text()
    assert not re.search(r"\sstyle=", text), "inline style"
    assert not re.search(r"\son[a-z]+=|hx-on", text), "inline handler"
    for script in re.findall(r"<script[^>]*>", text):
        assert "src=" in script or 'type="application/json"' in script, script


def test_icons_that_templates_name_are_in_the_sprite() -> None:
    sprite = (VENDOR / "icons.svg").read_text()
    for template in TEMPLATES:
        for name in re.findall(r'{% icon "([^"]+)"', template.read_text()):
            assert f'id="{name}"' in sprite, f"{template.name}: {name}"


def test_static_files_are_served_in_every_mode_and_compressed() -> None:
    async def nothing(scope: object, receive: object, send: object) -> None:
        raise AssertionError("not reached")

    with AsgiClient(with_static_files(nothing)) as client:
        answer = client.get("/static/ops/ops.css")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/css")
        assert answer.headers["content-encoding"] == "gzip"
        etag = {"If-None-Match": answer.headers["etag"]}
        assert client.get("/static/ops/ops.css", headers=etag).status_code == 304
        assert client.get("/static/admin/css/base.css").status_code == 200
        assert client.get("/static/%2e%2e/settings.py").status_code == 404
        assert client.get("/static/ops/nothing.css").status_code == 404
