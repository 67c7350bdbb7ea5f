"""Celery as it comes, with its RPC result backend: what the bus is measured against."""

import os

from celery import Celery

app = Celery("raw", broker=os.environ["RAW_BROKER"], backend="rpc://")
app.conf.task_default_queue = os.environ["RAW_QUEUE"]
app.conf.broker_connection_retry_on_startup = True


@app.task
def echo(data):
    return data
