"""Settings of the shop: a Django project with the bus and its gateway in it (docs/adoption.md)."""

import os
from pathlib import Path

from messaging.databases import database_at

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = Path(os.environ.get("VAR_DIR") or BASE_DIR / "var")
VAR_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)

# For a laptop: docs/production.md has the rest.
DEBUG = True
SECRET_KEY = "of an example that keeps no secrets"

INSTALLED_APPS = [
    # First: it adds to pages of the admin, and to a command of messaging.
    "gateway_app",
    "messaging",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    # The services. They share a project here so that one command starts them; each has its own
    # tables and reads no others.
    "shop.catalogue",
    "shop.orders",
    "shop.warehouse",
    "shop.payments",
    "shop.notifications",
    # The story that `make shop` plays; no part of the shop.
    "shop.story",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
ROOT_URLCONF = "shop.urls"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
STATIC_URL = "static/"
GATEWAY_PORT = int(os.environ.get("GATEWAY_PORT") or 8000)

# Two variables move it to a server: DATABASE_URL=postgres://… and BROKER_URL=amqp://….
DATABASES = {
    "default": database_at(
        os.environ.get("DATABASE_URL") or f"sqlite:///{VAR_DIR / 'shop.sqlite3'}", "DATABASE_URL"
    )
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
MESSAGING = {
    "broker_url": os.environ.get("BROKER_URL") or f"sqlite:///{VAR_DIR / 'broker.sqlite3'}",
    # Who sends something else than it has declared learns of it at once.
    "check_sends": "raise",
    # Any other setting of the bus: MESSAGING_<KEY>.
    **{
        key.removeprefix("MESSAGING_").lower(): value
        for key, value in os.environ.items()
        if key.startswith("MESSAGING_")
    },
}
USE_TZ = True
TIME_ZONE = "UTC"

# E-mails are files here; a mail server is another backend.
EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
EMAIL_FILE_PATH = str(VAR_DIR / "mail")
DEFAULT_FROM_EMAIL = "shop@example.com"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {"messaging": {"level": "INFO"}, "gateway_app": {"level": "INFO"}},
}
