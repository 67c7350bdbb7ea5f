"""What `run_stack` starts again in a project whose services lie where they like."""

from pathlib import Path

import pytest

from gateway_app.procfile import ProcfileEntry
from gateway_app.reloading import Reloading
from gateway_app.stack import Stack
from tests.support.waiting import eventually


def test_a_service_of_another_project_is_started_again_when_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("orders", "payments"):
        (tmp_path / "shop" / name).mkdir(parents=True)
    stack = Stack(
        [
            ProcfileEntry("orders", "celery -A shop.orders worker"),
            ProcfileEntry("payments", "celery -A shop.payments worker"),
            ProcfileEntry("mirror", "rsync --daemon"),
        ],
        directory=tmp_path,
        log_dir=tmp_path / "log",
        environment={},
        instances=lambda _service: (),
        gateway_url="",
    )
    restarted: list[str] = []
    monkeypatch.setattr(stack, "restart", lambda *names: restarted.extend(names))
    said: list[str] = []
    reloading = Reloading(stack, tmp_path, said.append, look_seconds=0.05)
    (tmp_path / "shop/orders/handlers.py").write_text("changed = True\n")

    def has_restarted() -> bool:
        reloading.look()
        return bool(restarted)

    eventually(has_restarted, 20, "the restart")
    assert set(restarted) == {"orders"}
    assert said[0] == "shop/orders/handlers.py changed: starting again orders"
