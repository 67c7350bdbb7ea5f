"""`uvicorn gateway_app.asgi:application` finds the gateway's HTTP server here."""

import os
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_app.settings")

pages: Any = get_asgi_application()
if settings.DEBUG:
    # The admin's style sheets on a laptop; in production a web server in front has them.
    pages = ASGIStaticFilesHandler(pages)

from gateway_app.http.application import GatewayServer  # noqa: E402 - models need Django set up

application = GatewayServer(pages)
