"""In which orders the options of a choice are asked, and how the question reads.

A model prefers some letters to others, so every option stands at every letter equally often.
"""

from collections.abc import Sequence
from itertools import permutations
from string import ascii_uppercase

from emoctl.scenarios.scenario import ChoiceSpec

ALL_ORDERS_UP_TO = 3
"""Options up to which every permutation is asked; beyond, the rotations balance the letters."""


def option_orders(labels: Sequence[str]) -> list[tuple[str, ...]]:
    """The orders in which options are asked: all of them up to three, else the rotations.

    The order as written comes first.

    Raises:
        ValueError: a label stands twice.
    """
    if len(set(labels)) != len(labels):
        raise ValueError(f"a label stands twice in {list(labels)}")
    if len(labels) <= ALL_ORDERS_UP_TO:
        return list(permutations(labels))
    return [(*labels[start:], *labels[:start]) for start in range(len(labels))]


def choice_message(spec: ChoiceSpec, order: Sequence[str]) -> str:
    """The question with its options lettered `(A) …` in the given order.

    Raises:
        ValueError: `order` is not an order of the options of `spec`.
    """
    if sorted(order) != sorted(spec.options):
        raise ValueError(f"{list(order)} is not an order of {list(spec.options)}")
    lines = [
        f"({letter}) {spec.options[label]}"
        for letter, label in zip(ascii_uppercase, order, strict=False)
    ]
    return spec.question.replace("{options}", "\n".join(lines))
