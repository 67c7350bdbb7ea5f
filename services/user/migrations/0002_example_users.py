from typing import Any

from django.db import migrations

EXAMPLE_USERS = [
    (121, "Grace Hopper", "grace@example.com", "US"),
    (122, "Alan Turing", "alan@example.com", "GB"),
    (123, "Ada Lovelace", "ada@example.com", "GB"),
]


def add_example_users(apps: Any, schema_editor: Any) -> None:
    """So that a fresh clone has somebody to ask about."""
    user = apps.get_model("user", "User")
    user.objects.bulk_create(
        user(id=id, name=name, email=email, country=country)
        for id, name, email, country in EXAMPLE_USERS
    )


def remove_example_users(apps: Any, schema_editor: Any) -> None:
    ids = [id for id, *_ in EXAMPLE_USERS]
    apps.get_model("user", "User").objects.filter(id__in=ids).delete()


class Migration(migrations.Migration):
    dependencies = [("user", "0001_initial")]

    operations = [migrations.RunPython(add_example_users, remove_example_users)]
