from typing import Any

from django.db import migrations

EXAMPLE_PRODUCTS = [
    ("mug", "A mug", 900),
    ("poster", "A poster", 1500),
    ("lamp", "A lamp, the last three", 4900),
]


def add_example_products(apps: Any, schema_editor: Any) -> None:
    """So that there is something to buy."""
    product = apps.get_model("catalogue", "Product")
    product.objects.bulk_create(
        product(sku=sku, name=name, cents=cents) for sku, name, cents in EXAMPLE_PRODUCTS
    )


class Migration(migrations.Migration):
    dependencies = [("catalogue", "0001_initial")]

    operations = [migrations.RunPython(add_example_products, migrations.RunPython.noop)]
