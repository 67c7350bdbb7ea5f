"""docs/from_celery.md, step by step: its code, with orders that come in all the time."""

import re
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from kombu import Connection

from tests.support.brokers import BROKERS, require
from tests.support.forked import run
from tests.support.installation import ROOT, Installation
from tests.support.journal import Journal
from tests.support.processes import Process
from tests.support.waiting import eventually

PAGE = (ROOT / "docs/from_celery.md").read_text()
CODE = {
    name.strip(): text
    for name, text in re.findall(r"```python (shop/[\w/.]+(?: \w+)?)\n(.*?)```", PAGE, re.S)
}
#: What a shop has beside that: its work, which a fault keeps it from, and who says what is paid.
OWN = {
    "shop/__init__.py": "from shop.celery import app as celery_app\n",
    "shop/billing/__init__.py": "",
    "shop/invoices.py": """
import os
from pathlib import Path
from tests.support.journal import Journal

folder = Path(os.environ["SHOP_FOLDER"])


def write_invoice(order_id):
    if order_id in [int(text) for text in (folder / "faults").read_text().split()]:
        Journal(folder / "journal").write(failed=order_id, by=os.environ["SHOP_WORKER"])
        raise ConnectionError("the printer is away")
    Journal(folder / "journal").write(order=order_id, by=os.environ["SHOP_WORKER"])
    return f"invoice {order_id}"
""",
    "shop/produce.py": """
import sys
import django
django.setup()
from shop.checkout import paid

for order_id in sys.argv[1:]:
    paid(int(order_id))
""",
    "shop/twice.py": """
import django
django.setup()
from shop.tasks import create_invoice

for _ in range(2):
    create_invoice.apply_async((13,), task_id="task-13")
""",
    "shop/ask.py": """
import django
django.setup()
from shop.sending import communicator

print(communicator.request("billing", "invoice.create", {"order_id": 99}, timeout=10))
""",
}


class Shop:
    """The folder of the shop's code, and its two workers."""

    def __init__(self, installation: Installation, old_url: str, database: Path) -> None:
        self.installation = installation
        self.old_url = old_url
        self.folder = installation.folder
        self.queue = f"shop-{uuid.uuid4().hex[:8]}"
        shutil.copy(database, self.folder / "shop.sqlite3")
        (self.folder / "faults").write_text("")
        self.journal = Journal(self.folder / "journal")
        self.write({name: text for name, text in {**CODE, **OWN}.items() if " " not in name})
        installation._services |= {"billing", "shop"}

    def write(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            text = text.replace('queue="shop"', f'queue="{self.queue}"')
            text = text.replace(
                '"namespace": "bus"', f'"namespace": "{self.installation.namespace}"'
            )
            file = self.folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    def deploy(self, name: str, version: str = "") -> None:
        """Put another version of a file in place, as the page has it."""
        self.write({name: CODE[f"{name} {version}".strip()]})

    def start(self, name: str, *command: str) -> Process:
        return self.installation.start(name, "celery", "-A", *command, **self.environment(name))

    def start_old(self) -> Process:
        options = (
            "--pool",
            "threads",
            "--concurrency",
            "2",
            "--without-gossip",
            "--without-mingle",
        )
        return self.start("old", "shop", "worker", *options)

    def start_billing(self) -> Process:
        return self.start("billing", "shop.billing", "worker")

    def run(self, *command: str) -> str:
        env = self.installation.environment(**self.environment("producer"))
        done = run("python", "-m", *command, env=env, folder=self.folder)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def pay(self, *orders: int) -> None:
        self.run("shop.produce", *map(str, orders))

    def wait_for(self, *orders: int, by: str) -> None:
        """Wait until all of these were handled, by whom they should be."""

        def handlers() -> dict[int, str]:
            return {line["order"]: line["by"] for line in self.journal.lines() if "order" in line}

        eventually(lambda: set(orders) <= set(handlers()), 30, f"{orders} by {by}")
        assert {handlers()[order] for order in orders} == {by}

    def environment(self, worker: str) -> dict[str, str]:
        return {
            "PYTHONPATH": f"{self.folder}:{ROOT}",
            "DJANGO_SETTINGS_MODULE": "shop.settings",
            # Celery's command line takes the first for the broker of any app; ours reads neither.
            "BROKER_URL": self.old_url,
            "CELERY_BROKER_URL": self.old_url,
            "BUS_URL": self.installation.url,
            "SHOP_DB": str(self.folder / "shop.sqlite3"),
            "SHOP_FOLDER": str(self.folder),
            "SHOP_WORKER": worker,
        }


@pytest.fixture(params=["redis to sqlite", "amqp to amqp"])
def shop(
    request: pytest.FixtureRequest, tmp_path: Path, migrated_database: Path
) -> Iterator[Shop]:
    old, new = (BROKERS[name] for name in request.param.split(" to "))
    require(old)
    require(new)
    installation = Installation(new, tmp_path, migrated_database)
    shop = Shop(installation, old.url, migrated_database)
    try:
        yield shop
    finally:
        installation.close()
        with Connection(old.url) as connection:
            if old.name == "redis":
                client = connection.channel().client
                client.delete(*client.scan_iter(f"*{shop.queue}*"), "no key")
            else:
                connection.channel().queue_delete(shop.queue)
                connection.channel().exchange_delete(shop.queue)


def test_a_task_moves_with_orders_coming_in_and_back(shop: Shop) -> None:
    old = shop.start_old()
    shop.pay(1, 2)
    shop.wait_for(1, 2, by="old")
    # The service beside the tasks: what is not moved goes the old way.
    billing = shop.start_billing()
    shop.pay(3, 4)
    shop.wait_for(3, 4, by="old")
    # A producer moves; what the task raises by `self.retry` the bus tries again.
    (shop.folder / "faults").write_text("6")
    shop.deploy("shop/checkout.py", "moved")
    shop.pay(5, 6, 7)
    shop.wait_for(5, 7, by="billing")
    eventually(lambda: shop.journal.lines(failed=6), 20, "the fault")
    (shop.folder / "faults").write_text("")
    shop.wait_for(6, by="billing")
    assert {line["by"] for line in shop.journal.lines(failed=6)} == {"billing"}
    assert shop.run("shop.ask").strip() == "invoice 99"
    # One that has not moved, and a killed worker that comes back as a bridge.
    old.kill()
    shop.deploy("shop/checkout.py")
    shop.pay(8, 9)
    assert billing.stop() == 0
    shop.deploy("shop/billing/celery.py", "bridge")
    shop.deploy("shop/tasks.py", "bridge")
    billing, old = shop.start_billing(), shop.start_old()
    shop.run("shop.twice")  # what Celery delivers twice is one message
    shop.pay(10)
    shop.wait_for(8, 9, 10, 13, by="billing")
    # Back: what was sent to the service while it was down is still its own.
    assert billing.stop() == 0
    shop.deploy("shop/checkout.py", "moved")
    shop.pay(11)
    old.stop()
    for name in ("shop/checkout.py", "shop/tasks.py", "shop/billing/celery.py"):
        shop.deploy(name)
    shop.start_old()
    shop.pay(12)
    shop.wait_for(12, by="old")
    shop.start_billing()
    shop.wait_for(11, by="billing")
    handled = sorted(line["order"] for line in shop.journal.lines() if "order" in line)
    assert handled == [*range(1, 14), 99]  # none is lost; nor was one done twice
