"""What each service sends is what the others take: none of them imports another, and all fit."""

import pytest

from messaging.contracts.checking import check
from messaging.contracts.sources import contract_of

NAMES = ("catalogue", "notifications", "orders", "payments", "warehouse")
CONTRACTS = {name: contract_of(f"shop.{name}") for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_service_fits_all_the_others(name: str) -> None:
    assert [finding.line() for finding in check(CONTRACTS[name], [*CONTRACTS.values()])] == []
