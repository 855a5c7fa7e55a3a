"""What do the tests of the Django adapter share? One project, whose databases change.

Import this before any model. `DATABASES` has an SQLite file, `default`, and `postgresql`; each
test gets them empty.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any, Final
from uuid import uuid4

import django
import servers
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import call_command
from django.db import DatabaseError, connections
from django.urls import include, path

SQLITE: Final = "default"
POSTGRESQL: Final = "postgresql"
# For tables that the tests share and fill anew.
FOLDER: Final = tempfile.TemporaryDirectory(prefix="xpay-flow-django-")

if not settings.configured:
    settings.configure(
        SECRET_KEY="not a secret: these tests alone use it",
        USE_TZ=True,
        ALLOWED_HOSTS=["*"],
        STATIC_URL="static/",
        ROOT_URLCONF="django_kit",
        DATABASES={
            SQLITE: {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": f"{FOLDER.name}/empty.db",
                "OPTIONS": {"timeout": 1.2},
            },
            POSTGRESQL: {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": "",
                "OPTIONS": {"options": "-c statement_timeout=5000"},
            },
        },
        INSTALLED_APPS=[
            "django.contrib.contenttypes",
            "django.contrib.auth",
            "django.contrib.sessions",
            "django.contrib.messages",
            "django.contrib.admin",
            "xpay_flow_django",
        ],
        MIDDLEWARE=[
            "django.middleware.security.SecurityMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        TEMPLATES=[
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
        ],
    )
    django.setup()

urlpatterns: list[Any] = []

# After Django has been set up.
from xpay_flow_django import DjangoStore  # noqa: E402


def migrated(alias: str) -> None:
    call_command("migrate", database=alias, verbosity=0)
    connections[alias].close()


def new_sqlite_file() -> Path:
    """Have `default` be a new file with empty tables."""
    empty = Path(FOLDER.name) / "empty.db"
    if not empty.exists():
        point_at(SQLITE, NAME=str(empty))
        migrated(SQLITE)
    new = Path(FOLDER.name) / f"{uuid4().hex}.db"
    shutil.copy(empty, new)
    point_at(SQLITE, NAME=str(new))
    return new


def point_at(alias: str, **changes: Any) -> None:
    """Change what this thread's next connection, and all of other threads, will be made of."""
    connections[alias].close()
    connections.settings[alias].update(changes)


@contextmanager
def database_settings(alias: str, **changes: Any) -> Generator[None]:
    """Other settings for one of `DATABASES`, for a while."""
    before = dict(connections.settings[alias])
    point_at(alias, **changes)
    try:
        yield
    finally:
        connections[alias].close()
        connections.settings[alias].clear()
        connections.settings[alias].update(before)


def opened_anywhere(alias: str, overrides: dict[str, Any]) -> DjangoStore:
    """A store on the database whose settings another process sent."""
    with suppress(DatabaseError):
        connections[alias].close()
    # A new process has none of a dead one's connections, however those ended.
    del connections[alias]
    connections.settings[alias].update(overrides)
    return DjangoStore(alias)


def empty_postgresql() -> None:
    connection = connections[POSTGRESQL]
    with connection.cursor() as cursor:
        cursor.execute(servers.END_LEFT)
        tables = ("alias", "outboxentry", "recordedevent", "intent")
        cursor.execute("TRUNCATE " + ", ".join(f"xpay_flow_{table}" for table in tables))
    connection.close()


def urlconf(*patterns: Any) -> str:
    """The name of a new URLconf with these patterns."""
    name = f"urls_{uuid4().hex}"
    module: Any = ModuleType(name)
    module.urlpatterns = list(patterns)
    sys.modules[name] = module
    return name


def mounted(patterns: Any, prefix: str = "/xpay") -> Any:
    """These patterns below a prefix."""
    return path(f"{prefix.strip('/')}/" if prefix else "", include(patterns))


def with_urlconf(handler: type, name: str) -> Any:
    """One of Django's handlers, for another URLconf than the project's."""

    class Handler(handler):  # type: ignore[misc]
        def resolve_request(self, request: Any) -> Any:
            request.urlconf = name
            return super().resolve_request(request)

    return Handler()


def wsgi_app(name: str) -> Any:
    """The project as a WSGI server would have it."""
    handler = with_urlconf(WSGIHandler, name)

    def app(environ: dict[str, Any], start: Any) -> Any:
        # What the suite's client leaves out, and PEP 3333 does not.
        usual = {"SERVER_NAME": "shop.test", "SERVER_PORT": "80", "wsgi.version": (1, 0)}
        return handler({**usual, **environ}, start)

    return app
