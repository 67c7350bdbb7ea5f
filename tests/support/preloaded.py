"""What the process has loaded that others are forked from: libraries alone.

Nothing of the project, whose modules read settings; nothing that starts a thread.
"""

import gc
import importlib

for _name in (
    *("celery.apps.beat", "celery.apps.worker", "celery.app.amqp", "celery.app.routes"),
    *("celery.bin.celery", "celery.concurrency.prefork", "celery.concurrency.thread"),
    *("celery.fixups.django", "celery.worker.components", "celery.worker.consumer"),
    *("celery.worker.strategy", "kombu.transport.pyamqp", "kombu.transport.redis"),
    *("django.core.management", "django.db.backends.sqlite3.base", "django.db.models"),
    *("django.contrib.sessions.backends.db", "django.forms", "django.template.engine"),
    *("dj_database_url", "h11", "httpx", "pydantic", "sqlalchemy.dialects.sqlite"),
    *("uuid_utils", "uvicorn.protocols.http.auto"),
):
    importlib.import_module(_name)

# What is there already is not looked at again by the collector of each fork, and stays shared.
gc.freeze()
