"""Every option stands at every letter equally often, and the question shows it."""

from collections import Counter

import pytest

from emoctl.scenarios import ChoiceSpec, choice_message, option_orders

SPEC = ChoiceSpec(
    question="Which {of} these?\n{options}\nOne.",
    options={"yes": "Burn {options}.", "no": "Do not.", "wait": "Wait."},
)


@pytest.mark.parametrize(("n", "orders"), [(2, 2), (3, 6), (4, 4)])
def test_options_are_balanced_over_letters(n: int, orders: int) -> None:
    labels = list("abcd"[:n])
    found = option_orders(labels)

    assert found[0] == tuple(labels)
    assert len(found) == len(set(found)) == orders
    for position in range(n):
        assert set(Counter(order[position] for order in found).values()) == {orders // n}


def test_a_label_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        option_orders(["a", "a"])


def test_the_message_letters_the_options_in_order() -> None:
    assert choice_message(SPEC, ("wait", "yes", "no")) == (
        "Which {of} these?\n(A) Wait.\n(B) Burn {options}.\n(C) Do not.\nOne."
    )


@pytest.mark.parametrize("order", [("yes", "no"), ("yes", "no", "no"), ("yes", "no", "win")])
def test_an_order_of_other_options_is_refused(order: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="not an order"):
        choice_message(SPEC, order)
