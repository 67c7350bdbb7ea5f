"""What handlers in other processes did: one JSON line each, appended atomically."""

import json
import os
from pathlib import Path
from typing import Any


class Journal:
    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, **fields: Any) -> None:
        line = json.dumps({"pid": os.getpid(), **fields}) + "\n"
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)

    def lines(self, **wanted: Any) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        # Whole lines only: a reader may see a part of what is being appended.
        whole, _, _ = self.path.read_text().rpartition("\n")
        entries = [json.loads(line) for line in whole.splitlines()]
        return [e for e in entries if all(e.get(k) == v for k, v in wanted.items())]
