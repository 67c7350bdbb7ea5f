"""A reliable message bus for Django services: Celery tasks on one queue per service."""

from messaging.bus import MessageBus
from messaging.communicator import ServiceCommunicator
from messaging.config import MessagingConfig
from messaging.envelope import Envelope, MessagePriority
from messaging.errors import (
    BrokerUnavailable,
    ConfigurationError,
    MessagingError,
    PublishUncertain,
    Reject,
    RemoteError,
    RequestTimeout,
    Retry,
    ServiceNotFound,
)
from messaging.registration import Route
from messaging.retry import RetryPolicy

__all__ = [
    "BrokerUnavailable",
    "ConfigurationError",
    "Envelope",
    "MessageBus",
    "MessagePriority",
    "MessagingConfig",
    "MessagingError",
    "PublishUncertain",
    "Reject",
    "RemoteError",
    "RequestTimeout",
    "Retry",
    "RetryPolicy",
    "Route",
    "ServiceCommunicator",
    "ServiceNotFound",
]
