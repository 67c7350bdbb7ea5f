from typing import Any

from django.db import migrations

EXAMPLE_STOCK = [("mug", 200, 20), ("poster", 200, 20), ("lamp", 3, 2)]


def add_example_stock(apps: Any, schema_editor: Any) -> None:
    """So that there is something to send."""
    stock = apps.get_model("warehouse", "Stock")
    stock.objects.bulk_create(
        stock(sku=sku, available=received, received=received, low_mark=low_mark)
        for sku, received, low_mark in EXAMPLE_STOCK
    )


class Migration(migrations.Migration):
    dependencies = [("warehouse", "0001_initial")]

    operations = [migrations.RunPython(add_example_stock, migrations.RunPython.noop)]
