"""How a Redis server keeps messages: in its memory for sure, and on its disk."""

from collections.abc import Iterator
from typing import Any

from gateway_app import traps
from gateway_app.doctor.finding import Finding, fine, trapped


def look(client: Any) -> Iterator[Finding]:
    """Yield what the server says of it; INFO is enough, where CONFIG is often forbidden."""
    info = client.info()
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if int(info.get("maxmemory", 0)) and policy.startswith("allkeys-"):
        text = f"maxmemory-policy is {policy}"
        yield trapped("Memory", traps.REDIS_EVICTS, text)
    else:
        yield fine("Memory", "no message is thrown away for room")
    if int(info.get("aof_enabled", 0)):
        yield fine("Persistence", "appendonly is yes")
    elif _snapshots(client):
        yield fine("Persistence", "by snapshots: a crash loses what came after the last one")
    else:
        yield trapped("Persistence", traps.REDIS_FORGETS, "appendonly is no, and save is empty")


def _snapshots(client: Any) -> bool:
    """Return whether the server writes its memory to disk now and then; True if it keeps mum."""
    from redis.exceptions import ResponseError  # only where Redis is the broker

    try:
        return bool(client.config_get("save").get("save"))
    except ResponseError:
        return True
