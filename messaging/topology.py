"""Every exchange and queue name, binding and priority number, in one place.

Senders and workers build their queues here and nowhere else: RabbitMQ refuses a message when two
sides declare one queue with different arguments.
"""

from collections.abc import Iterable
from typing import Any, Final

from kombu import Exchange, Queue, binding

from messaging.brokers import BrokerProfile
from messaging.config import MessagingConfig
from messaging.envelope import MessagePriority
from messaging.patterns import without_empty_hashes

#: A reply queue outlives its owner by this long; no request is waited for by a dead process.
REPLY_QUEUE_EXPIRES_SECONDS: Final = 60.0


class Topology:
    """The names and arguments of everything this installation has on its broker.

    - One durable **work queue** per service, named like the service. Commands go there through
      the default exchange; whoever sends first declares it, so messages wait for a service that
      was never started.
    - **bus.events**, a topic exchange: broadcasts, by message type. A worker binds its work queue
      to the patterns it handles.
    - **bus.services**, a direct exchange: requests, by service. Only workers bind to it, so a
      request to a service that never started is unroutable, and fails at once.
    - One **reply queue** per requesting process.
    - One **custody queue** per service, ``<service>.custody``: receipts and questions.
    - One **marker queue** per database: while it is there, the broker has lost nothing.
    - One **probe queue** while the doctor looks.
    """

    def __init__(self, config: MessagingConfig, profile: BrokerProfile) -> None:
        self.profile = profile
        # Redis keys carry the namespace as their prefix (see brokers.py); elsewhere names do.
        prefixed = config.namespace and profile.name != "redis"
        self._prefix = f"{config.namespace}." if prefixed else ""
        self._service_queues: dict[str, Queue] = {}
        self.events_exchange = Exchange(f"{self._prefix}bus.events", type="topic")
        self.services_exchange = Exchange(f"{self._prefix}bus.services", type="direct")
        #: Celery's remote control and events, apart from those of other Celery apps.
        self.control_exchange_name = f"{self._prefix}bus.control"
        self.celery_events_exchange_name = f"{self._prefix}bus.celeryev"

    def priority_number(self, priority: MessagePriority) -> int:
        """Return the number this broker wants for a priority name."""
        return self.profile.priorities[priority]

    def queue_name(self, service: str) -> str:
        """Return the name of a service's work queue."""
        return f"{self._prefix}{service}"

    def reply_queue_name(self, service: str, token: str) -> str:
        """Return the name of one process's reply queue; the token is unique to the process."""
        return f"{self._prefix}reply.{service}.{token}"

    def service_queue(self, service: str) -> Queue:
        """Return the work queue of a service as a sender declares it: without bindings."""
        queue = self._service_queues.get(service)
        if queue is None:  # made once: kombu takes 25 us for each, a tenth of a publish
            queue = Queue(self.queue_name(service), **self._work_queue_options(service))
            self._service_queues[service] = queue
        return queue

    def worker_queue(self, service: str, patterns: Iterable[str]) -> Queue:
        """Return the work queue of a service as its worker declares it: bound to what it takes.

        Args:
            service: name of the service.
            patterns: topic patterns of the events it handles.
        """
        bindings = [
            binding(self.events_exchange, routing_key=key)
            for pattern in patterns
            for key in self._binding_keys(pattern)
        ]
        bindings.append(binding(self.services_exchange, routing_key=service))
        return Queue(
            self.queue_name(service), bindings=bindings, **self._work_queue_options(service)
        )

    def custody_queue(self, service: str) -> Queue:
        """Return where a service gets receipts for what it sent, and questions."""
        return self._lasting(f"{self.queue_name(service)}.custody")

    def epoch_queue(self, epoch: str) -> Queue:
        """Return the queue whose one message says that the broker still has what it had."""
        return self._lasting(f"{self._prefix}bus.epoch.{epoch}")

    def reply_queue(self, name: str) -> Queue:
        """Return a reply queue: gone with the connection that declared it, or soon after."""
        return Queue(
            name,
            durable=False,
            # kombu's Redis transport has no exclusive queues; expiry cleans up there.
            exclusive=self.profile.name != "redis",
            auto_delete=True,
            expires=REPLY_QUEUE_EXPIRES_SECONDS,
            no_ack=True,
        )

    def probe_queue(self, token: str) -> Queue:
        """Return a work queue in all but its life: private, gone with who declared it."""
        name = f"{self._prefix}bus.doctor.{token}"
        return Queue(
            name,
            durable=False,
            exclusive=self.profile.name != "redis",
            auto_delete=True,
            expires=REPLY_QUEUE_EXPIRES_SECONDS,
            max_priority=self.profile.max_priority,
            routing_key=name,
        )

    def _lasting(self, name: str) -> Queue:
        arguments = dict(self.profile.queue_arguments)
        return Queue(name, durable=True, routing_key=name, queue_arguments=arguments)

    def _work_queue_options(self, service: str) -> dict[str, Any]:
        return {
            "durable": True,
            "max_priority": self.profile.max_priority,
            "queue_arguments": dict(self.profile.queue_arguments),
            "routing_key": self.queue_name(service),
        }

    def _binding_keys(self, pattern: str) -> list[str]:
        return [pattern] if self.profile.exact_topics else without_empty_hashes(pattern)
