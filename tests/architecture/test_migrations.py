"""What docs/upgrading.md says of migrations: the old code runs on while they do."""

from collections.abc import Sequence
from typing import Final

import pytest
from django.db import migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation

APPS: Final = ("messaging", "gateway_app")
FIRST: Final = "0001_initial"
#: Migrations that drop or change what the release before has ceased to use, by app and name.
CONTRACTING: Final[frozenset[tuple[str, str]]] = frozenset()
#: Of the state alone: the database is not touched.
OF_THE_STATE: Final = (migrations.AlterModelOptions, migrations.AlterModelManagers)


def what_old_code_would_notice(operations: Sequence[Operation]) -> list[str]:
    """Return what a migration does besides adding tables, indexes and columns with a default."""
    new = {each.name_lower for each in operations if isinstance(each, migrations.CreateModel)}
    return [each.describe() for each in operations if not _only_adds(each, new)]


def _only_adds(operation: Operation, new_models: set[str]) -> bool:
    match operation:
        case migrations.CreateModel() | migrations.AddIndex():
            return True
        case migrations.AddField():
            field = operation.field
            return field.null or field.has_db_default() or operation.model_name_lower in new_models
        case migrations.AddConstraint():
            return operation.model_name_lower in new_models  # others may refuse old code's rows
        case _:
            return isinstance(operation, OF_THE_STATE)


NUMBER: Final = models.IntegerField()
CHECK: Final = models.CheckConstraint(condition=models.Q(a__gt=0), name="c")


@pytest.mark.parametrize(
    ("operations", "noticed"),
    [
        ([migrations.CreateModel("New", [("a", NUMBER)])], 0),
        ([migrations.AddIndex("old", models.Index(fields=["a"], name="i"))], 0),
        ([migrations.AddField("old", "b", models.IntegerField(null=True))], 0),
        ([migrations.AddField("old", "b", models.IntegerField(db_default=0))], 0),
        ([migrations.AddField("old", "b", models.IntegerField(default=0))], 1),
        ([migrations.AddField("old", "b", NUMBER)], 1),
        ([migrations.CreateModel("New", []), migrations.AddField("new", "b", NUMBER)], 0),
        ([migrations.AddConstraint("old", CHECK)], 1),
        ([migrations.CreateModel("New", []), migrations.AddConstraint("new", CHECK)], 0),
        ([migrations.RemoveField("old", "a"), migrations.DeleteModel("Old")], 2),
        ([migrations.AlterField("old", "a", models.IntegerField(null=True))], 1),
        ([migrations.RenameField("old", "a", "b")], 1),
        ([migrations.RunSQL("SELECT 1"), migrations.RunPython(migrations.RunPython.noop)], 2),
    ],
)
def test_the_rule_knows_what_old_code_would_notice(
    operations: list[Operation], noticed: int
) -> None:
    assert len(what_old_code_would_notice(operations)) == noticed


@pytest.mark.parametrize("app", APPS)
def test_migrations_only_add(app: str) -> None:
    """Those after the first one, which makes an empty database."""
    of_app = {
        name: migration.operations
        for (label, name), migration in MigrationLoader(None).disk_migrations.items()
        if label == app
    }
    assert of_app.pop(FIRST)
    noticed = {
        name: found
        for name, operations in of_app.items()
        if (app, name) not in CONTRACTING and (found := what_old_code_would_notice(operations))
    }
    assert noticed == {}
