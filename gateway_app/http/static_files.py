"""Scripts, styles, icons and fonts of the pages, served by the gateway itself, in every mode.

So the pages need no web server in front and nothing from other hosts.
"""

from pathlib import Path

from django.apps import apps
from django.conf import settings
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send


def with_static_files(application: ASGIApp) -> ASGIApp:
    """Return the application, with static files of the installed apps answered before it.

    Browsers keep them, and ask each time whether they have changed: an upgrade is seen at once.
    """
    prefix = f"/{settings.STATIC_URL.strip('/')}"
    folders: list[str | tuple[str, str]] = [
        (app.name, "static")
        for app in apps.get_app_configs()
        if (Path(app.path) / "static").is_dir()
    ]
    files = ExceptionMiddleware(GZipMiddleware(StaticFiles(packages=folders)))

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(f"{prefix}/"):
            await application(scope, receive, send)
            return

        async def send_with_age(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"cache-control", b"no-cache")]
            await send(message)

        below = {**scope, "root_path": scope.get("root_path", "") + prefix}
        await files(below, receive, send_with_age)

    return answer
