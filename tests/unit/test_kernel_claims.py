"""Claims are taken together or not at all, and what is taken is never more than the limit."""

from hypothesis import given
from hypothesis import strategies as st

from hive.core.call import Claim, Refused
from hive.kernel.claims import ClaimBook, task_budget
from hive.testing.clock import StoppedClock


def budget(amount: int, limit: int, scope: str = "task:t models.calls") -> Claim:
    return Claim(kind="budget", scope=scope, amount=amount, limit=limit)


@given(amounts=st.lists(st.integers(1, 5), max_size=40), limit=st.integers(1, 60))
def test_a_budget_is_never_overdrawn(amounts, limit):
    book = ClaimBook(StoppedClock())
    taken = sum(amount for amount in amounts if book.take((budget(amount, limit),)) is None)
    assert taken <= limit
    assert book.spent("task:t models.calls") == taken


def test_a_failed_claim_gives_the_others_back():
    book = ClaimBook(StoppedClock())
    nonce = Claim(kind="nonce", scope="n-1")
    refused = book.take((nonce, budget(3, 2)))
    assert isinstance(refused, Refused)
    assert refused.check == "budget"
    assert book.take((nonce, budget(2, 2))) is None


def test_a_nonce_is_taken_once():
    book = ClaimBook(StoppedClock())
    nonce = Claim(kind="nonce", scope="n-1")
    assert book.take((nonce,)) is None
    again = book.take((nonce,))
    assert isinstance(again, Refused)
    assert again.check == "nonce"


def test_a_rate_refills_with_time_and_says_when_to_come_again():
    clock = StoppedClock()
    book = ClaimBook(clock)
    rate = Claim(kind="rate", scope="p", limit=2)
    assert [book.take((rate,)) for _ in range(2)] == [None, None]
    refused = book.take((rate,))
    assert isinstance(refused, Refused)
    assert refused.retry_after_s == 0.5
    clock.advance(0.5)
    assert book.take((rate,)) is None


def test_what_the_ledger_holds_counts_after_a_restart():
    book = ClaimBook(StoppedClock())
    scope = task_budget("t", "models.calls")
    book.restore([budget(3, 4, scope)])
    assert book.take((budget(1, 4, scope),)) is None
    assert isinstance(book.take((budget(1, 4, scope),)), Refused)
    book.forget("task:t ")
    assert book.spent(scope) == 0
