"""Sends one message and goes on living, idle, with database and broker open."""

import signal

import django

django.setup()

from messaging import ServiceCommunicator  # noqa: E402

communicator = ServiceCommunicator("tester")
communicator.send_to_service("probe", "work", {})
print("sent", flush=True)
signal.pause()
