"""Engines with one mistake each fail the check of `test_steered_exactness`: a test of that test.

Receipts are switched off here, so that it is the logits that show each mistake.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from naive import float64_throughout
from recorded import (
    BLOCK,
    LEAD,
    LONG,
    SHORT,
    TOLERANCE,
    conditions,
    exercise,
    model_of,
    request,
    worst_error,
)
from torch import Tensor

from emoctl.engine import attention, cascade, collect, opening, play, prefix, slots, suffix
from emoctl.engine.attention import Part, Scores
from emoctl.engine.bank import SteeringBank
from emoctl.engine.cascade import Group
from emoctl.engine.prefix import Prefix, PrefixStore
from emoctl.engine.rollout import RolloutRequest
from emoctl.engine.slots import Slots
from emoctl.engine.steering import Steering
from emoctl.engine.suffix import SuffixCache
from emoctl.errors import SteeringError

Patch = pytest.MonkeyPatch
Mutant = Callable[[Patch], None]
MUTANTS: dict[str, tuple[str, Mutant]] = {}
"""By mistake: an architecture that shows it, and how to make it."""


def mutant(name: str) -> Callable[[Mutant], Mutant]:
    def keep(make: Mutant) -> Mutant:
        MUTANTS[make.__name__] = (name, make)
        return make

    return keep


pytestmark = pytest.mark.usefixtures("shapes_unchecked")


@pytest.fixture
def without_receipts(monkeypatch: Patch) -> None:
    monkeypatch.setattr(collect, "check_count", lambda *_: None)


def some_requests() -> list[RolloutRequest]:
    """Few, and yet each mistake shows: conditions that come back, and rows that are moved."""
    known = conditions()
    short = [request(known[i], 20 + n, SHORT, LEAD) for n, i in enumerate((3, 2, 3, 5, 2))]
    long = [request(known[i], 40 + n, LONG) for n, i in enumerate((1, 1, 0, 4, 6))]
    return [row for pair in zip(long, short, strict=True) for row in pair]


def error_of(name: str) -> float:
    requests = some_requests()
    played = exercise(name, requests, rows=4)
    with float64_throughout():
        return worst_error(model_of(name), requests, played)


# the merge


@mutant("qwen3")
def parts_are_averaged(patch: Patch) -> None:
    def average(a: Part, b: Part) -> Part:
        return Part((a.output + b.output) / 2, torch.logaddexp(a.lse, b.lse))

    patch.setattr(cascade, "merge", average)


@mutant("qwen3")
def sums_are_swapped(patch: Patch) -> None:
    def swapped(a: Part, b: Part) -> Part:
        return attention.merge(Part(a.output, b.lse), Part(b.output, a.lse))

    patch.setattr(cascade, "merge", swapped)


@mutant("qwen3")
def merged_sum_is_the_larger(patch: Patch) -> None:
    """Shows where three parts meet: two blocks and a prefix."""

    def larger(a: Part, b: Part) -> Part:
        return Part(attention.merge(a, b).output, torch.maximum(a.lse, b.lse))

    patch.setattr(suffix, "merge", larger)


@mutant("qwen3")
def later_blocks_are_left_out(patch: Patch) -> None:
    patch.setattr(suffix, "merge", lambda a, _b: a)


@mutant("qwen3")
def prefix_is_left_out(patch: Patch) -> None:
    patch.setattr(cascade, "_with_prefixes", lambda _this, _layer, _queries, own, *_: own)


# positions and masks


def shifted_mask(by: int) -> Mutant:
    def shift(patch: Patch) -> None:
        real = suffix.suffix_mask

        def shifted(lengths: Tensor, *args: Any) -> Tensor:
            right = real(lengths, *args)
            wrong = real((lengths + by).clamp(min=0), *args)
            missing = right[:, : max(0, right.shape[1] - wrong.shape[1])]
            return torch.cat([wrong, missing], dim=1)[:, : right.shape[1]]

        patch.setattr(cascade, "suffix_mask", shifted)

    return shift


@mutant("qwen3")
def a_token_does_not_see_itself(patch: Patch) -> None:
    shifted_mask(-1)(patch)


@mutant("qwen3")
def a_token_sees_the_next(patch: Patch) -> None:
    shifted_mask(1)(patch)


@mutant("qwen3")
def tail_is_not_causal(patch: Patch) -> None:
    real = suffix.suffix_mask

    def all_seen(lengths: Tensor, longest: int, n_new: int, heads: Any, *args: Any) -> Tensor:
        last = real(lengths + n_new - 1, longest + n_new - 1, 1, heads, *args)
        return last.expand(-1, -1, n_new * heads[1] if n_new > 1 else 1, -1)

    patch.setattr(cascade, "suffix_mask", all_seen)


def moved_positions(by: int) -> Mutant:
    def move(patch: Patch) -> None:
        real = play.cascade_module

        def moved(module: Any) -> Any:
            def hook(_module: Any, args: Any, kwargs: dict[str, Any]) -> Any:
                return args, {**kwargs, "position_ids": kwargs["position_ids"] + by}

            ours = real(module)
            ours.register_forward_pre_hook(hook, with_kwargs=True)
            return ours

        patch.setattr(play, "cascade_module", moved)

    return move


@mutant("qwen3")
def suffix_begins_one_late(patch: Patch) -> None:
    moved_positions(1)(patch)


@mutant("gpt2")
def suffix_begins_one_early(patch: Patch) -> None:
    moved_positions(-1)(patch)


def other_window(where: str, index: int, change: Callable[[int], int | None]) -> Mutant:
    def make(patch: Patch) -> None:
        real = getattr(cascade, where)

        def changed(*args: Any) -> Any:
            window = args[index]
            kept = args if window is None else (*args[:index], change(window), *args[index + 1 :])
            return real(*kept)

        patch.setattr(cascade, where, changed)

    return make


@mutant("mistral")
def window_is_one_longer_over_the_prefix(patch: Patch) -> None:
    other_window("_over_prefix", 5, lambda window: window + 1)(patch)


@mutant("gemma3")
def window_is_one_shorter_over_the_prefix(patch: Patch) -> None:
    other_window("_over_prefix", 5, lambda window: window - 1)(patch)


@mutant("phi3")
def window_is_ignored_over_the_prefix(patch: Patch) -> None:
    other_window("_over_prefix", 5, lambda _: None)(patch)


@mutant("gemma2")
def window_is_one_longer_over_the_suffix(patch: Patch) -> None:
    other_window("suffix_mask", 4, lambda window: window + 1)(patch)


@mutant("gpt-oss")
def window_is_one_shorter_over_the_suffix(patch: Patch) -> None:
    other_window("suffix_mask", 4, lambda window: window - 1)(patch)


# what an architecture asks of its attention


@mutant("gpt-oss")
def sinks_are_ignored(patch: Patch) -> None:
    patch.setattr(cascade, "with_sink", lambda part, _sink: part)


@mutant("gpt-oss")
def sinks_are_those_of_other_heads(patch: Patch) -> None:
    real = attention.with_sink
    patch.setattr(cascade, "with_sink", lambda part, sink: real(part, sink.flip(0)))


@mutant("gemma2")
def soft_cap_is_ignored(patch: Patch) -> None:
    patch.setattr(cascade, "Scores", lambda scale, _softcap: Scores(scale, None))


@mutant("gemma3")
def scale_is_that_of_the_head(patch: Patch) -> None:
    patch.setattr(cascade, "Scores", lambda _scale, softcap: Scores(8**-0.5, softcap))


@mutant("qwen2")
def heads_share_the_wrong_keys(patch: Patch) -> None:
    real = attention.grouped

    def wrong(queries: Tensor, kv_heads: int) -> Tensor:
        return real(queries.unflatten(1, (-1, kv_heads)).transpose(1, 2).flatten(1, 2), kv_heads)

    patch.setattr(cascade, "grouped", wrong)


# prefixes and groups


@mutant("qwen3")
def steered_prefixes_are_the_plain_one(patch: Patch) -> None:
    real = PrefixStore.under

    def shared(self: PrefixStore, steering: Steering) -> Prefix:
        return replace(self.plain, added=real(self, steering).added)

    patch.setattr(PrefixStore, "under", shared)


@mutant("qwen3")
def the_layer_above_shares_the_plain_prefix_too(patch: Patch) -> None:
    real = PrefixStore.under

    def shared(self: PrefixStore, steering: Steering) -> Prefix:
        own, layer = real(self, steering), steering.layer + 1
        keys, plain = list(own.keys), self.plain.keys
        keys[layer : layer + 1] = plain[layer : layer + 1]
        return replace(own, keys=tuple(keys))

    patch.setattr(PrefixStore, "under", shared)


@mutant("qwen3")
def prefix_is_entered_a_block_early(patch: Patch) -> None:
    real = prefix._entered_after
    patch.setattr(prefix, "_entered_after", lambda b, layer, resid: real(b, layer - 1, resid))


@mutant("qwen3")
def prefix_ends_a_token_late(patch: Patch) -> None:
    """So that response-only steering misses its first position."""
    real = opening.Openings._prefixes

    def longer(self: opening.Openings, asked: Any) -> Any:
        more = len(asked.prompt) > asked.response_start
        return real(self, replace(asked, response_start=asked.response_start + more))

    patch.setattr(opening.Openings, "_prefixes", longer)


@mutant("qwen3")
def rows_of_a_group_are_swapped(patch: Patch) -> None:
    real = cascade._over_prefix

    def swapped(*args: Any) -> Part:
        part = real(*args)
        return Part(part.output.flip(0), part.lse.flip(0))

    patch.setattr(cascade, "_over_prefix", swapped)


@mutant("qwen3")
def groups_swap_their_keys(patch: Patch) -> None:
    real = slots.groups_of

    def swapped(*args: Any) -> list[tuple[Group, ...]]:
        return [
            tuple(
                replace(own, keys=other.keys, values=other.values)
                if own.keys.shape == other.keys.shape
                else own
                for own, other in zip(groups, groups[::-1], strict=True)
            )
            for groups in real(*args)
        ]

    patch.setattr(slots, "groups_of", swapped)


@mutant("qwen3")
def layers_share_the_first_ones_groups(patch: Patch) -> None:
    real = slots.groups_of

    def first(*args: Any) -> list[tuple[Group, ...]]:
        by_layer = real(*args)
        return [
            tuple(replace(group, keys=own[0].keys, values=own[0].values) for group in by_layer[0])
            for own in by_layer
        ]

    patch.setattr(slots, "groups_of", first)


# steering


@mutant("qwen3")
def decoded_tokens_are_not_steered(patch: Patch) -> None:
    real = SteeringBank.applied_to

    def only_alone(self: SteeringBank, blocks: Any, at: slice) -> Any:
        return real(self, blocks, at if at.stop - at.start == 1 else slice(at.stop, at.stop))

    def index_of(self: SteeringBank, number: int, at: slice) -> Any:
        def add(_module: Any, _inputs: Any, resid: Tensor) -> Tensor:
            self._norms.append(torch.zeros(resid.shape[:2]))
            return resid

        return add if at.start == at.stop else hook(self, number, at)

    hook = SteeringBank._hook
    patch.setattr(SteeringBank, "applied_to", only_alone)
    patch.setattr(SteeringBank, "_hook", index_of)


@mutant("qwen3")
def steering_is_a_layer_late(patch: Patch) -> None:
    real = SteeringBank.applied_to

    def late(self: SteeringBank, blocks: Any, at: slice) -> Any:
        return real(self, [*blocks[1:], blocks[0]], at)

    patch.setattr(SteeringBank, "applied_to", late)


@mutant("qwen3")
def slots_swap_their_vectors(patch: Patch) -> None:
    hook = SteeringBank._hook

    def flipped(self: SteeringBank, number: int, at: slice) -> Any:
        self.index[number] = self.index[number].flip(0)
        return hook(self, number, at)

    patch.setattr(SteeringBank, "_hook", flipped)


# rows that come, go and grow


@mutant("qwen3")
def a_moved_row_keeps_the_length_that_was_there(patch: Patch) -> None:
    real = Slots.move

    def move(self: Slots, source: int, target: int) -> None:
        old = self.length_of[target]
        real(self, source, target)
        self.set_length(target, old)

    patch.setattr(Slots, "move", move)


@mutant("qwen3")
def a_moved_row_leaves_its_suffix(patch: Patch) -> None:
    patch.setattr(SuffixCache, "move", lambda *_: None)


@mutant("qwen3")
def a_moved_row_leaves_its_last_block(patch: Patch) -> None:
    real = SuffixCache.move

    def move(self: SuffixCache, source: int, target: int, length: int) -> None:
        real(self, source, target, max(0, length - suffix.BLOCK))

    patch.setattr(SuffixCache, "move", move)


@mutant("qwen3")
def a_moved_row_leaves_its_condition(patch: Patch) -> None:
    patch.setattr(SteeringBank, "move", lambda *_: None)


@mutant("qwen3")
def a_moved_row_leaves_its_prefix(patch: Patch) -> None:
    real = Slots.move

    def move(self: Slots, source: int, target: int) -> None:
        old = self._prefix[target]
        real(self, source, target)
        self._prefix[target] = old

    patch.setattr(Slots, "move", move)


@mutant("qwen3")
def a_refilled_slot_keeps_its_suffix(patch: Patch) -> None:
    real = Slots.occupy

    def occupy(self: Slots, slot: int, new: Prefix, steering: Steering) -> None:
        old = self.length_of[slot]
        real(self, slot, new, steering)
        self.set_length(slot, old)

    patch.setattr(Slots, "occupy", occupy)


@mutant("qwen3")
def groups_are_those_of_the_first_rows(patch: Patch) -> None:
    real = slots.groups_of
    first: dict[object, Any] = {}

    def kept(prefixes: Any, sharing: int, n_new: int, device: Any) -> Any:
        made = real(prefixes, sharing, n_new, device)
        return made if len(prefixes) == 1 else first.setdefault(len(prefixes), made)

    patch.setattr(slots, "groups_of", kept)


@mutant("qwen3")
def an_opening_is_not_copied(patch: Patch) -> None:
    patch.setattr(SuffixCache, "fill", lambda *_: None)


@mutant("qwen3")
def a_grown_suffix_is_empty(patch: Patch) -> None:
    def grow(self: SuffixCache, tokens: int) -> None:
        if tokens > self.n_tokens:
            blocks = suffix.blocks_for(max(tokens, 2 * self.n_tokens))
            for kept in (self.keys, self.values):
                kept[:] = [self._empty(blocks) for _ in kept]

    patch.setattr(SuffixCache, "make_room", grow)


@pytest.mark.parametrize("mistake", MUTANTS)
@pytest.mark.usefixtures("without_receipts")
def test_a_mistake_shows_in_the_logits(mistake: str, monkeypatch: Patch) -> None:
    name, make = MUTANTS[mistake]
    make(monkeypatch)

    assert error_of(name) > 1e6 * TOLERANCE


@pytest.mark.parametrize("name", sorted({name for name, _ in MUTANTS.values()}))
@pytest.mark.usefixtures("without_receipts")
def test_no_mistake_shows_without_one(name: str) -> None:
    assert error_of(name) <= TOLERANCE


@pytest.mark.parametrize("mistake", ["decoded_tokens_are_not_steered", "prefix_ends_a_token_late"])
def test_receipts_alone_show_steering_that_misses_positions(
    mistake: str, monkeypatch: Patch
) -> None:
    name, make = MUTANTS[mistake]
    make(monkeypatch)

    with pytest.raises(SteeringError, match="steered"):
        exercise(name, some_requests())


def test_the_requests_show_what_they_are_for(monkeypatch: Patch) -> None:
    """Rows of several blocks are moved to where rows of another length and condition were, and
    openings are used again."""
    real, moves, copies = Slots.move, list[tuple[int, int, bool]](), list[int]()

    def move(self: Slots, source: int, target: int) -> None:
        same = self._prefix[source] is self._prefix[target]
        moves.append((self.length_of[source], self.length_of[target], same))
        real(self, source, target)

    fill = SuffixCache.fill
    monkeypatch.setattr(Slots, "move", move)
    monkeypatch.setattr(
        SuffixCache, "fill", lambda self, slot, copy: (copies.append(slot), fill(self, slot, copy))
    )
    exercise("qwen3", some_requests(), rows=4)

    lengths = [(source, target) for source, target, same in moves if not same]
    assert any(source > 2 * BLOCK and source != target for source, target in lengths)
    assert copies
