"""Settings of the whole project. The only module that reads the environment."""

import os
from pathlib import Path

from gateway_app import client_faults, startup

BASE_DIR = Path(__file__).resolve().parent.parent
if not (BASE_DIR / "services").is_dir():  # installed as a package, into another project
    startup.end(
        "DJANGO_SETTINGS_MODULE: expected the settings of your project, got gateway_app.settings, "
        "which are those of the bus's own repository; set DJANGO_SETTINGS_MODULE to yours"
    )
VAR_DIR = startup.folder("VAR_DIR", Path(os.environ.get("VAR_DIR") or BASE_DIR / "var"))


def _words(name: str, default: str = "") -> list[str]:
    """Return what a variable lists between commas."""
    words = os.environ.get(name, default).split(",")
    return [word.strip() for word in words if word.strip()]


#: On until it is turned off, whatever broker and database: two variables move an installation, and
#: a third one makes it production. `check --deploy` and the doctor say where that was forgotten.
DEBUG = startup.flag("DJANGO_DEBUG", os.environ.get("DJANGO_DEBUG", ""), default=True)
#: What settings that are empty go by. Unlike DEBUG, which tests set themselves, it stays as it was
#: when the process began.
IS_DEVELOPMENT = DEBUG
#: Fine on a laptop; with DEBUG off nothing starts without one of its own.
SECRET_KEY = os.environ.get("DJANGO_SECRET_KEY") or ("insecure-development-key" if DEBUG else "")
if not SECRET_KEY:
    startup.end(
        "DJANGO_SECRET_KEY: expected a key of this installation's own where DJANGO_DEBUG is off, "
        "got none; set it to 50 random characters, the same for all processes"
    )
#: Older keys, by commas: sessions signed with them stay valid while the key is changed.
SECRET_KEY_FALLBACKS = _words("DJANGO_SECRET_KEY_FALLBACKS")
ALLOWED_HOSTS = _words("DJANGO_ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")

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

#: Whether people reach the pages by HTTPS alone. DJANGO_TLS=0: behind a tunnel, or on loopback.
_HAS_TLS = startup.flag("DJANGO_TLS", os.environ.get("DJANGO_TLS", ""), default=not DEBUG)
SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _HAS_TLS
#: Probes and Prometheus come past the proxy, by HTTP; what they are told names no secret.
SECURE_REDIRECT_EXEMPT = [r"^health$", r"^ready$", r"^metrics$"]
#: Name of the header, such as X-Forwarded-Proto, by which the proxy in front says how it was
#: asked. Only where a proxy sets or removes it in every request: whoever sends it is believed.
_PROXY_HEADER = os.environ.get("DJANGO_PROXY_SSL_HEADER", "")
SECURE_PROXY_SSL_HEADER = (
    (f"HTTP_{_PROXY_HEADER.upper().replace('-', '_')}", "https") if _PROXY_HEADER else None
)
#: 30 days. Browsers refuse plain HTTP for so long, so begin with less where HTTPS is new.
_HSTS_SECONDS = startup.whole_number(
    "DJANGO_HSTS_SECONDS", os.environ.get("DJANGO_HSTS_SECONDS") or "2592000"
)
SECURE_HSTS_SECONDS = _HSTS_SECONDS if _HAS_TLS else 0
#: Of `check --deploy`; both ask for promises about hosts that are not this program's: W005, that
#: all subdomains have HTTPS too, and W021, to have the domain put on the browsers' own lists.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
#: Origins such as https://bus.example.com that forms may come from besides the host's own.
CSRF_TRUSTED_ORIGINS = _words("DJANGO_CSRF_TRUSTED_ORIGINS")
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
#: A working day: who operates the bus logs in once in it.
SESSION_COOKIE_AGE = 12 * 3600
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
AUTHENTICATION_BACKENDS = ["gateway_app.login_limit.LimitedLogin"]
#: Of each process. Large enough that nobody pushes the counts of failed logins out of it soon.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "OPTIONS": {"MAX_ENTRIES": 10_000},
    }
}
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

DATABASES = {
    "default": startup.database(
        os.environ.get("DATABASE_URL") or f"sqlite:///{VAR_DIR / 'gateway.sqlite3'}"
    )
}

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "static/"

#: Every key may also be given as MESSAGING_<KEY> in the environment.
MESSAGING = startup.messaging(
    {
        "broker_url": os.environ.get("BROKER_URL") or f"sqlite:///{VAR_DIR / 'broker.sqlite3'}",
        "pulse_folder": str(VAR_DIR / "pulse"),
        # Somebody who develops a service learns at once that it sends what it does not declare.
        "check_sends": "raise" if IS_DEVELOPMENT else "off",
        "notify_socket": os.environ.get("NOTIFY_SOCKET", ""),
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
        "DJANGO_CSRF_TRUSTED_ORIGINS",
        "DJANGO_DEBUG",
        "DJANGO_HSTS_SECONDS",
        "DJANGO_PROXY_SSL_HEADER",
        "DJANGO_SECRET_KEY",
        "DJANGO_SECRET_KEY_FALLBACKS",
        "DJANGO_SETTINGS_MODULE",
        "DJANGO_TLS",
        "FLOWER_BASIC_AUTH",
        "FLOWER_PORT",
        "FLOWER_URL",
        "GATEWAY_PORT",
        "LOG_FORMAT",
        "NOTIFY_SOCKET",
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
    "filters": {"client_fault": {"()": "gateway_app.client_faults.ClientFault"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "messaging": {"level": "INFO"},
        "gateway_app": {"level": "INFO"},
        **{name: {"filters": ["client_fault"]} for name in client_faults.LOGGERS},
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
