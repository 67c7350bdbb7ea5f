"""``manage.py books``: the books of the shop."""

import dataclasses
import json
import sys
from typing import Any

from django.core.management.base import BaseCommand

from shop.story.books import read_books


class Command(BaseCommand):
    """Prints the sums of all services side by side, and what does not fit."""

    help = "Print the books of the shop as JSON; exit 1 if they do not balance."

    def handle(self, *args: Any, **options: Any) -> None:
        """Exit 0 when they balance, else 1."""
        books = read_books()
        differences = books.differences()
        self.stdout.write(
            json.dumps({**dataclasses.asdict(books), "differences": differences}, indent=2)
        )
        if differences:
            sys.exit(1)
