"""A Celery app on the embedded broker; its task reports through a queue named ``done``."""

import os

from celery import Celery
from kombu import Queue

import messaging.transport  # noqa: F401 - makes the scheme known

DONE = Queue("done", durable=True)

app = Celery("embedded", broker=os.environ["BROKER_URL"])
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    worker_cancel_long_running_tasks_on_connection_loss=False,
)


@app.task(name="report")
def report(number):
    with app.producer_pool.acquire(block=True) as producer:
        producer.publish([number, os.getpid()], routing_key="done", declare=[DONE], retry=True)
