"""Claims are taken together or not at all, and what is taken is never more than the limit."""

from hypothesis import given
from hypothesis import strategies as st

from hive.core.budget import Unit
from hive.core.call import Claim, Refused
from hive.core.ids import CallId, TaskId
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


SUMS = ("agent:a tokens day:2026-01-01", "node:all tokens forever", "task:t tokens forever")


@given(st.data())
def test_reserved_and_spent_are_kept_apart_and_never_pass_an_honest_ceiling(data):
    book = ClaimBook(StoppedClock())
    open_claims: list[tuple[Claim, ...]] = []
    spent = dict.fromkeys(SUMS, 0)
    for _ in range(data.draw(st.integers(1, 30))):
        deed = data.draw(st.sampled_from(("take", "settle", "give back")))
        if deed == "take":
            amount = data.draw(st.integers(0, 40))
            claims = tuple(budget(amount, 100, one) for one in SUMS)
            if book.take(claims) is None:
                open_claims.append(claims)
            continue
        if not open_claims:
            continue
        claims = open_claims.pop(data.draw(st.integers(0, len(open_claims) - 1)))
        if deed == "settle":
            used = data.draw(st.integers(0, claims[0].amount))
            book.settle(claims, {Unit.TOKENS: used})
            spent = {one: sum_so_far + used for one, sum_so_far in spent.items()}
        else:
            book.give_back(claims)
        held = sum(one[0].amount for one in open_claims)
        for one in SUMS:
            assert book.reserved(one) == held
            assert book.spent(one) == spent[one] + held <= 100
            assert not book.closed(one)


def test_what_nobody_settles_comes_back_when_its_task_ends():
    book = ClaimBook(StoppedClock())
    claims = (budget(30, 100, "agent:a tokens forever"),)
    book.restore_open(TaskId("t"), CallId("c"), claims)
    book.restore_open(TaskId("t"), CallId("c"), claims)
    assert book.reserved("agent:a tokens forever") == 30
    book.end_task(TaskId("t"))
    assert book.spent("agent:a tokens forever") == book.reserved("agent:a tokens forever") == 0


def test_more_than_was_reserved_counts_and_closes_the_budget():
    book = ClaimBook(StoppedClock())
    claims = (budget(30, 100, "agent:a tokens forever"),)
    assert book.take(claims) is None
    book.settle(claims, {Unit.TOKENS: 31})
    assert book.spent("agent:a tokens forever") == 31
    refused = book.take((budget(1, 100, "agent:a tokens forever"),))
    assert isinstance(refused, Refused)
    assert "closed" in refused.reason
    assert [one.name for one in book.take_notices()] == ["budget.overrun"]
    assert book.reopen("agent:a tokens forever")
    assert book.take((budget(1, 100, "agent:a tokens forever"),)) is None


def test_a_call_whose_spending_is_unknown_counts_as_reserved():
    book = ClaimBook(StoppedClock())
    claims = (budget(30, 100, "agent:a tokens forever"),)
    assert book.take(claims) is None
    book.settle(claims, None)
    assert book.spent("agent:a tokens forever") == 30
    assert book.reserved("agent:a tokens forever") == 0


def test_days_that_are_over_are_forgotten_and_calls_under_way_are_not():
    book = ClaimBook(StoppedClock())
    gone, held, lasting = (f"agent:{one} tokens day:2026-01-01" for one in "abc")
    lasting = "agent:c tokens forever"
    for one in (gone, held, lasting):
        assert book.take((budget(5, 100, one),)) is None
    for one in (gone, lasting):
        book.settle((budget(5, 100, one),), None)
    book.forget_past(frozenset({"day:2026-01-02", "forever"}))
    assert (book.spent(gone), book.spent(held), book.spent(lasting)) == (0, 5, 5)
