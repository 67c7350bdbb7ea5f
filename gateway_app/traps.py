"""Every known trap of an installation: what the system checks and the doctor can find.

E001 to E009 and W001 to W009 are told from settings alone; the tens after that are of the layers
that the doctor looks at, in its order. docs/doctor.md is this table.
"""

from typing import Final

from messaging.traps import Trap

# Settings: gateway_app/checks.py.
SECRET_KEY: Final = Trap(
    "gateway_app.E001",
    "Everybody can make sessions of this installation, those of its operators too.",
    "Set DJANGO_SECRET_KEY to a long random text, the same for every process.",
)
NO_PAGES: Final = Trap(
    "gateway_app.E002",
    "Operator pages and probes have no address.",
    'Add path("", include("gateway_app.hosted_urls")) to ROOT_URLCONF, beside the admin\'s path.',
)
DEBUG: Final = Trap(
    "gateway_app.W001",
    "Errors are shown to everybody, with settings and code.",
    "Set DJANGO_DEBUG=0 in production.",
)
MISSPELLED: Final = Trap(
    "gateway_app.W002",
    "A variable of the environment looks meant for this, and is not read.",
    "Correct its name, or unset it.",
)
PAST_SETTINGS: Final = Trap(
    "gateway_app.W003",
    "Celery reads this variable past all settings: workers and senders part ways.",
    "Unset it; BROKER_URL and MESSAGING_… are what counts here.",
)
ANY_HOST: Final = Trap(
    "gateway_app.W004",
    "Whoever sends a request decides which host links in pages and mails lead to.",
    "Set DJANGO_ALLOWED_HOSTS to the names the gateway has, separated by commas.",
)
NO_HOST: Final = Trap(
    "gateway_app.W005",
    "Pages answer 400 under every name but localhost.",
    "Set DJANGO_ALLOWED_HOSTS to the names the gateway has, separated by commas.",
)
FLOWER_WITHOUT_PASSWORD: Final = Trap(
    "gateway_app.W006",
    "Flower, where it is started by itself, shows anybody who sends what to whom.",
    "Set FLOWER_BASIC_AUTH to user:password.",
)
FEW_OPEN_FILES: Final = Trap(
    "gateway_app.W008",
    "A busy gateway runs out of open files, and refuses connections.",
    "Raise the limit (ulimit -n, LimitNOFILE=), or lower MESSAGING_HTTP_CONCURRENCY.",
)
OPEN_GATEWAY: Final = Trap(
    "gateway_app.W009",
    "Anybody who reaches the gateway may call every route that does not ask for a token itself.",
    'Leave MESSAGING_HTTP_AUTH empty; say auth="none" on the routes that are public.',
)

# Files.
FOLDER_NOT_WRITABLE: Final = Trap(
    "gateway_app.E011",
    "Nothing can be kept: broker file, database, passwords, logs.",
    "Set VAR_DIR to a folder that this user may write to.",
)
DISK_NEARLY_FULL: Final = Trap(
    "gateway_app.W011",
    "A full disk stops the broker file and the database.",
    "Make room on the disk of VAR_DIR, or move VAR_DIR.",
)
OPEN_TO_OTHERS: Final = Trap(
    "gateway_app.W012",
    "Other users of this host can read messages, or change them.",
    "chmod 600 the file, and start with umask 077.",
)
OTHER_VERSION: Final = Trap(
    "gateway_app.W013",
    "This version of a library is not the one that all of this is tested with.",
    "Install what requirements.txt says: pip install -r requirements.txt -c constraints.txt.",
)

# Database.
NO_DATABASE: Final = Trap(
    "gateway_app.E021",
    "Nothing is on record and nothing is answered for.",
    "Start the database, or correct DATABASE_URL.",
)
DATABASE_READ_ONLY: Final = Trap(
    "gateway_app.E022",
    "The database is read and not written to.",
    "Give its user the right to write; with SQLite also to the folder; make room on the disk.",
)
MIGRATIONS: Final = Trap(
    "gateway_app.E023",
    "Tables are missing, or older than the code.",
    "Run manage.py migrate.",
)
OLD_DATABASE: Final = Trap(
    "gateway_app.E024",
    "The database lacks what every transition needs (RETURNING).",
    "Take SQLite 3.35 or later (with a newer Python), or a PostgreSQL that is still supported.",
)
DATABASE_CLOCK: Final = Trap(
    "gateway_app.W021",
    "Database and this host do not agree on the time: leases and retries come early or late.",
    "Have a time service (chrony, systemd-timesyncd) set the clocks of both hosts.",
)
FEW_CONNECTIONS: Final = Trap(
    "gateway_app.W022",
    "PostgreSQL soon refuses connections: each thread of each worker has one.",
    "Raise max_connections of PostgreSQL, or put a pooler before it.",
)

# Broker.
NO_BROKER: Final = Trap(
    "gateway_app.E031",
    "No message goes anywhere; those of NORMAL and up wait in the database.",
    "Start the broker, or correct BROKER_URL.",
)
REFUSED: Final = Trap(
    "gateway_app.E032",
    "The broker answers, and does not let this installation in.",
    "Correct user, password and virtual host in BROKER_URL.",
)
NO_ROUND_TRIP: Final = Trap(
    "gateway_app.E033",
    "The broker lets us in, and messages do not come through.",
    "Look at the broker for alarms of memory and disk (rabbitmqctl status), and at its log.",
)
NO_PRIORITIES: Final = Trap(
    "gateway_app.E034",
    "CRITICAL messages wait behind LOW ones.",
    "Take a broker that keeps priorities: manage.py bus_conformance tells.",
)
QUEUE_ARGUMENTS: Final = Trap(
    "gateway_app.E035",
    "RabbitMQ has the queue with other arguments: workers and senders are refused.",
    "Empty and delete the queue (rabbitmqctl delete_queue NAME); the next start makes it anew.",
)
REDIS_EVICTS: Final = Trap(
    "gateway_app.E036",
    "Redis throws messages away when its memory is full.",
    "Set maxmemory-policy noeviction in redis.conf.",
)
REDIS_FORGETS: Final = Trap(
    "gateway_app.W031",
    "Redis keeps messages in memory alone: a restart loses all but those under custody.",
    "Set appendonly yes in redis.conf.",
)

# Registry.
NO_GATEWAY_WORKER: Final = Trap(
    "gateway_app.E041",
    "Nobody keeps the registry and the dead letters.",
    "Start celery -A gateway_app worker.",
)
NO_BEAT: Final = Trap(
    "gateway_app.E042",
    "Nobody looks for silent instances: what the registry says is old.",
    "Start celery -A gateway_app beat.",
)
SEVERAL_DATABASES: Final = Trap(
    "gateway_app.E043",
    "Instances of one service have several databases: messages may be handled twice.",
    "Give all instances of the service the same DATABASE_URL (SQLite: the same file).",
)
CLOCKS_APART: Final = Trap(
    "gateway_app.W041",
    "An instance has another time than the gateway: its messages expire early or late.",
    "Have a time service (chrony, systemd-timesyncd) set the clock of that host.",
)
NOBODY_LISTENS: Final = Trap(
    "gateway_app.W042",
    "Broadcasts pile up for a service that does not run.",
    "Start the service; one that is gone for good is forgotten in the admin, under Services.",
)
NOBODY_TAKES: Final = Trap(
    "gateway_app.W043",
    "Messages wait for a service that nobody runs.",
    "Start a worker of it; if the name is misspelled, correct who sends there.",
)

LONG_HANDLER: Final = Trap(
    "gateway_app.W044",
    "Redis gives a message to a second worker while a slow handler is still at it.",
    "Set MESSAGING_REDIS_VISIBILITY_TIMEOUT_SECONDS above the longest timeout of on_message.",
)

# Bus.
NO_ANSWER: Final = Trap(
    "gateway_app.E051",
    "The gateway's worker lives and does not answer requests.",
    "Look at its log; restart celery -A gateway_app worker.",
)

# Relay.
LATE: Final = Trap(
    "gateway_app.E061",
    "What is due is not sent: nobody relays for this database.",
    "Start a worker or manage.py bus_relay on this database.",
)

# HTTP.
GATEWAY_NOT_READY: Final = Trap(
    "gateway_app.E071",
    "The HTTP gateway runs and cannot do its work.",
    "Start it with the same environment as this command; its answer says what it lacks.",
)
OTHER_PROGRAM: Final = Trap(
    "gateway_app.E072",
    "Another program has the gateway's port.",
    "Set GATEWAY_PORT to a free port, or stop that program.",
)
NO_GATEWAY: Final = Trap(
    "gateway_app.W071",
    "No HTTP gateway listens on this host; on another one it may.",
    "Start uvicorn gateway_app.asgi:application, or set GATEWAY_PORT to where it listens.",
)
FLOWER_OPEN: Final = Trap(
    "gateway_app.W072",
    "Flower asks for no password: whoever reaches it sees who sends what to whom.",
    "Start Flower with FLOWER_BASIC_AUTH=user:password.",
)

# Tokens.
TOKEN_FOR_EVER: Final = Trap(
    "gateway_app.W081",
    "An API token never expires: one that leaks opens its routes until somebody notices.",
    "Make one that expires (manage.py bus_token create --for 90d), and revoke the old one.",
)

# The doctor itself.
CHECK_FAILED: Final = Trap(
    "gateway_app.E091",
    "A check ended in an error that it does not know.",
    "Mend what the text says; the log has more.",
)
CHECK_TOOK_TOO_LONG: Final = Trap(
    "gateway_app.E092",
    "A layer did not answer in the time that a check has.",
    "Look whether its server is overloaded, or behind a firewall that drops packets.",
)

TRAPS: Final = tuple(value for value in list(globals().values()) if isinstance(value, Trap))
