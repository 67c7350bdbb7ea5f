"""x."""
import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_app.settings")
django.setup()
from messaging import ServiceCommunicator  # noqa: E402

communicator = ServiceCommunicator("user-service", version="1.0.0")


@communicator.on_message("get.user.details")
def user_details(data):
    return {"id": data["userId"], "name": "Ada"}


@communicator.on_message("fail")
def fail(data):
    raise ValueError("no")


@communicator.on_message("document.#")
def doc(data, message):
    print("DOC", message.type, data, message.correlation_id, flush=True)


@communicator.on_message("slow")
async def slow(data, message):
    import asyncio
    print("SLOW begin", message.id, flush=True)
    await asyncio.sleep(data["s"])
    print("SLOW end", message.id, flush=True)


app = communicator.celery_app
