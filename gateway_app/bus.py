"""The gateway's own place on the bus."""

from messaging import ServiceCommunicator
from messaging.apps import configured

communicator = ServiceCommunicator(configured().gateway_name, version="0.1.0")
