"""`uvicorn gateway_app.asgi:application` finds the gateway's HTTP server here."""

import os
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_app.settings")

pages: Any = get_asgi_application()

# Models need Django set up.
from gateway_app.http.application import GatewayServer  # noqa: E402
from gateway_app.http.static_files import with_static_files  # noqa: E402

application = GatewayServer(with_static_files(pages))
