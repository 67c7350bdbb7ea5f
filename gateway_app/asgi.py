"""`uvicorn gateway_app.asgi:application` finds the gateway's HTTP server here."""

import os
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_app.settings")

pages: Any = get_asgi_application()

# Models need Django set up.
from gateway_app.bus import communicator  # noqa: E402
from gateway_app.http.application import GatewayServer  # noqa: E402
from gateway_app.http.static_files import with_static_files  # noqa: E402
from gateway_app.startup import end  # noqa: E402
from messaging.refusal import refused_by  # noqa: E402

# A broker that is away may come back, and services are reached over HTTP meanwhile. One that
# refuses the login waits for somebody to mend the setup: rather now than at the first request.
if refused := refused_by(communicator.bus):
    end(refused)

application = GatewayServer(with_static_files(pages))
