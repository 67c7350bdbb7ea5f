"""Settings of the whole project. The only module that reads the environment."""

import os
from pathlib import Path

from gateway_app import startup

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = startup.folder("VAR_DIR", Path(os.environ.get("VAR_DIR") or BASE_DIR / "var"))

DEBUG = os.environ.get("DJANGO_DEBUG", "1").lower() in ("1", "true", "yes", "on")
#: What settings that are empty go by. Unlike DEBUG, which tests set themselves, it stays as it was
#: when the process began.
IS_DEVELOPMENT = DEBUG
#: Fine on a laptop; with DJANGO_DEBUG=0 a missing DJANGO_SECRET_KEY stops the start.
SECRET_KEY = os.environ.get("DJANGO_SECRET_KEY") or ("insecure-development-key" if DEBUG else "")
ALLOWED_HOSTS = [
    host
    for host in os.environ.get("DJANGO_ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]").split(",")
    if host
]

GATEWAY_PORT = startup.port("GATEWAY_PORT", os.environ.get("GATEWAY_PORT", "8000"))
FLOWER_PORT = startup.port("FLOWER_PORT", os.environ.get("FLOWER_PORT", "5555"))
#: Where browsers find Flower; empty: the pages have no link to it.
FLOWER_URL = os.environ.get("FLOWER_URL", f"http://localhost:{FLOWER_PORT}/" if DEBUG else "")
#: ``user:password`` of Flower, which reads it itself; `run_stack` makes one where it is empty.
FLOWER_BASIC_AUTH = os.environ.get("FLOWER_BASIC_AUTH", "")

INSTALLED_APPS = [
    # Before the admin, whose frame it makes its own.
    "gateway_app",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "messaging",
    # The example services keep what they know in tables of their own.
    "services.document",
    "services.user",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "gateway_app.urls"
ASGI_APPLICATION = "gateway_app.asgi.application"

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

DATABASES = {
    "default": startup.database(
        os.environ.get("DATABASE_URL") or f"sqlite:///{VAR_DIR / 'gateway.sqlite3'}"
    )
}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = {
        # A transaction that reads first and writes later would fail at once with "database is
        # locked" when somebody else wrote in between; this one waits for its turn instead.
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        # The cache: at a million rows the indexes do not fit in the 2 MB that SQLite has else.
        "init_command": (
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-16000;"
        ),
    }

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "static/"

#: Every key may also be given as MESSAGING_<KEY> in the environment.
MESSAGING = startup.messaging(
    {
        "broker_url": os.environ.get("BROKER_URL") or f"sqlite:///{VAR_DIR / 'broker.sqlite3'}",
        **{
            key.removeprefix("MESSAGING_").lower(): value
            for key, value in os.environ.items()
            if key.startswith("MESSAGING_")
        },
    }
)

#: Names alone, for the checks: what is misspelled, and what Celery reads past these settings.
ENVIRONMENT_NAMES = frozenset(os.environ)
#: Every name that is read here.
KNOWN_ENVIRONMENT = frozenset(
    {
        "BROKER_URL",
        "DATABASE_URL",
        "DJANGO_ALLOWED_HOSTS",
        "DJANGO_DEBUG",
        "DJANGO_SECRET_KEY",
        "DJANGO_SETTINGS_MODULE",
        "FLOWER_BASIC_AUTH",
        "FLOWER_PORT",
        "FLOWER_URL",
        "GATEWAY_PORT",
        "LOG_FORMAT",
        "VAR_DIR",
        *startup.messaging_names(),
    }
)

#: ``line`` for people, ``json`` for programs: one object a line, see docs/log_events.md.
LOG_FORMAT = startup.one_of("LOG_FORMAT", os.environ.get("LOG_FORMAT", "line"), "line", "json")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"},
        "json": {"()": "messaging.json_logs.BusJsonFormatter"},
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "messaging": {"level": "INFO"},
        "gateway_app": {"level": "INFO"},
        # Has handlers of its own by now.
        **(
            {
                name: {"handlers": ["stderr"], "level": "INFO", "propagate": False}
                for name in ("uvicorn", "uvicorn.error", "uvicorn.access")
            }
            if LOG_FORMAT == "json"
            else {}
        ),
    },
}
