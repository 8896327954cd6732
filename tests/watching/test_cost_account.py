"""What one kind of observed step costs, smoothed."""

import pytest

from undertow.watching.cost_account import CostAccount


def test_an_interruption_is_no_price_but_a_new_price_is_learned() -> None:
    account = CostAccount()
    for _ in range(5):
        account.spend(1e-3)
    before = account.saved
    account.spend(0.5)
    assert account.price < 2e-3
    assert account.saved >= before - 3e-3 - 1e-9
    for _ in range(12):
        account.spend(0.02)
    assert account.price == pytest.approx(0.02, rel=0.05)
