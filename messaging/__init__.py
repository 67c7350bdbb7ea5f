"""A reliable message bus for Django services: Celery tasks on one queue per service."""

from messaging.bus import MessageBus
from messaging.communicator import ServiceCommunicator
from messaging.config import MessagingConfig
from messaging.envelope import Envelope, MessagePriority
from messaging.errors import (
    BrokerUnavailable,
    ConfigurationError,
    InvalidData,
    MessagingError,
    PublishUncertain,
    QueueFull,
    Reject,
    RemoteError,
    RequestTimeout,
    Retry,
    ServiceNotFound,
    TooManyMessages,
)
from messaging.plain_program import StandaloneCommunicator, standalone
from messaging.retry import RetryPolicy
from messaging.routes import Route

__all__ = [
    "BrokerUnavailable",
    "ConfigurationError",
    "Envelope",
    "InvalidData",
    "MessageBus",
    "MessagePriority",
    "MessagingConfig",
    "MessagingError",
    "PublishUncertain",
    "QueueFull",
    "Reject",
    "RemoteError",
    "RequestTimeout",
    "Retry",
    "RetryPolicy",
    "Route",
    "ServiceCommunicator",
    "ServiceNotFound",
    "StandaloneCommunicator",
    "TooManyMessages",
    "standalone",
]

#: The one place of it: the package and the gateway's own service have it from here.
__version__ = "0.1.0"
