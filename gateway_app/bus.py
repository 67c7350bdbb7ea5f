"""The gateway's own place on the bus."""

from gateway_app import registry
from gateway_app.deadletters import StoredParking
from messaging import ServiceCommunicator, __version__
from messaging.apps import configured

communicator = ServiceCommunicator(configured().gateway_name, version=__version__)
communicator.parking = StoredParking(communicator)
communicator.subscribers_of = registry.subscribers_of
communicator.bus.is_down = registry.is_down
