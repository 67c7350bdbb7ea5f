"""The Celery app of a service, configured for the guarantees of the bus."""

import sys
from typing import TYPE_CHECKING, Any, Final

from celery import Celery
from celery.signals import import_modules, setup_logging

from messaging import json_logs
from messaging.codec import TASK_NAME
from messaging.receiver import Receiver
from messaging.worker.fixup import SERVICE_FIXUP
from messaging.worker.strategy import RECEIVERS, receive

if TYPE_CHECKING:
    from messaging.communicator import ServiceCommunicator


#: Pools of our own, by what the setting ``worker_pool`` calls them; others are Celery's.
POOLS: Final = {"threads": "messaging.worker.pool:ThreadPool"}

#: Messages that the event loop hands to threads in one turn.
TURN_MESSAGES: Final = 16


class BusApp(Celery):
    """A Celery app that belongs to one service."""

    communicator: "ServiceCommunicator"

    @property
    def Worker(self) -> Any:  # noqa: N802 - Celery's name
        """The worker program."""
        return self.subclass_with_self("messaging.worker.program:BusWorker")


def create_app(communicator: "ServiceCommunicator") -> BusApp:
    """Return the Celery app of a service.

    Its queue, pool, prefetch and node name are settings, so `celery -A services.user worker`
    needs no options.

    Raises:
        ConfigurationError: messages are signed, and no key may speak for this service.
    """
    if communicator.bus.keyring.has_keys:
        communicator.bus.keyring.key_of(communicator.name)  # not when the first message is sent
    app = BusApp(communicator.name, set_as_current=False, fixups=[SERVICE_FIXUP])
    app.communicator = communicator
    app.steps["consumer"].add("messaging.worker.pulse:PulseStep")
    RECEIVERS[communicator.name] = Receiver(communicator)
    app.config_from_object(_settings(communicator))
    # Only its strategy ever runs it: the body is what a child of the pool is handed.
    app.task(
        receive,
        name=TASK_NAME,
        Strategy="messaging.worker.strategy:deliver_strategy",
        ignore_result=True,
        acks_late=True,
    )
    import_modules.connect(_teach_flower, sender=app, weak=False)
    if json_logs.are_used():
        # Somebody who sets logging up keeps Celery from doing so, in lines of its own.
        setup_logging.connect(_leave_logging, weak=False, dispatch_uid="messaging.json_logs")
    return app


def _settings(communicator: "ServiceCommunicator") -> dict[str, Any]:
    bus, config = communicator.bus, communicator.bus.config
    queue = bus.topology.worker_queue(communicator.name, bus.handlers.patterns())
    return {
        # Both, because CELERY_BROKER_URL in the environment overrides broker_url alone.
        "broker_read_url": config.broker_url,
        "broker_write_url": config.broker_url,
        "broker_url": config.broker_url,
        "broker_transport": bus.profile.transport,
        "broker_transport_options": {
            **bus.profile.transport_options(config),
            # Of the embedded broker; others ignore it.
            "turn_messages": TURN_MESSAGES if config.worker_pool == "threads" else 1,
            "takes_handed": config.worker_pool == "threads",
        },
        "broker_connection_timeout": config.broker_timeout_seconds,
        "broker_connection_retry_on_startup": True,
        # RabbitMQ closes channels for what is missing or forbidden just now, such as while its
        # virtual host is made anew; by default a worker ends of that.
        "broker_channel_error_retry": True,
        # For ever: a worker waits for its broker rather than give up after 100 tries.
        "broker_connection_max_retries": None,
        "task_queues": [queue],
        "task_default_queue": queue.name,
        "task_default_exchange": "",
        "task_default_exchange_type": "direct",
        "task_default_routing_key": queue.name,
        "task_create_missing_queues": False,
        "accept_content": ["json"],
        "task_serializer": "json",
        "task_ignore_result": True,
        "task_acks_late": True,
        "task_send_sent_event": False,
        "worker_consumer": "messaging.worker.consumer:GuardConsumer",
        "worker_pool": POOLS.get(config.worker_pool, config.worker_pool),
        "worker_concurrency": config.worker_concurrency,
        # At first; see `prefetch`.
        "worker_prefetch_multiplier": 1,
        "worker_enable_prefetch_count_reduction": False,
        "worker_send_task_events": False,
        # What a handler prints is its own affair.
        "worker_redirect_stdouts": False,
        "worker_enable_remote_control": True,
        # Handlers finish and acknowledge after a lost connection; doubles are possible anyway.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "control_exchange": bus.topology.control_exchange_name,
        "event_exchange": bus.topology.celery_events_exchange_name,
        "event_serializer": "json",
    }


def _leave_logging(**_: Any) -> None:
    """Do nothing: Django has set logging up."""


def _teach_flower(**_: Any) -> None:
    """Have Flower show the embedded broker's queues, where Flower is what is running."""
    if "flower.views" in sys.modules and "flower" in sys.argv:
        from messaging.worker.flower_broker import install

        install()
