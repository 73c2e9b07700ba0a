"""The exact profile: with one thread, a row's logits have the same bits whatever shares its batch,
in whichever slot it sits, whoever sat there before, and however far ahead the device runs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from recorded import record
from tiny_models import tiny_model
from torch import Tensor

from emoctl.engine import attention, cascade, collect
from emoctl.engine.bank import SteeringBank
from emoctl.engine.exactness import probe_exactness
from emoctl.engine.noise import NoiseKey
from emoctl.engine.play import SteeredEngine
from emoctl.engine.rollout import RolloutRequest, SamplingParams
from emoctl.engine.slots import Slots
from emoctl.engine.steering import Steering
from emoctl.engine.suffix import BLOCK
from emoctl.models.loading import LoadedModel
from emoctl.sweep.executor import one_thread

pytestmark = pytest.mark.usefixtures("shapes_unchecked", "single_thread")
STEPS = 6
LONG_TAIL = BLOCK + 10
ROW_COUNTS = (4, 5, 7, 8, 16, 32)


@pytest.fixture
def single_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def tiny_float32() -> LoadedModel:
    """As wide as models are: what a processor takes at a time divides every width."""
    return tiny_model(dtype=torch.float32, intermediate_size=64)


class World:
    """Some rows, and others that may share their batches."""

    def __init__(self, model: LoadedModel, size: float) -> None:
        self.model = replace(model, eos_ids=frozenset())
        drawn = torch.randn(model.d_model, generator=torch.Generator().manual_seed(1))
        self.direction = size * drawn / drawn.norm()
        lower, upper = model.n_layers // 2, 3 * model.n_layers // 4
        self.conditions = [
            self.steering(lower, 0),
            self.steering(lower, 1),
            self.steering(upper, -1),
            self.steering(lower, 1, everywhere=False),
        ]
        d_vocab = model.module.get_input_embeddings().weight.shape[0]
        ids = tuple((7 * i * i + 13 * i + 5) % (d_vocab - 10) + 5 for i in range(140))
        self.prompt, self.other_prompt = ids[:50], ids[20:]
        self.rows = [self.row("row", i, c) for i, c in enumerate(self.conditions)]

    def steering(self, layer: int, strength: float, everywhere: bool = True) -> Steering:
        return Steering(layer, strength * self.direction, everywhere)

    def row(self, name: str, i: int, condition: Steering) -> RolloutRequest:
        prompt = self.prompt
        return RolloutRequest(prompt, len(prompt), condition, NoiseKey(1, name, "v", i))

    def mates(self, n: int, conditions: Sequence[Steering] | None = None) -> list[RolloutRequest]:
        known = conditions or self.conditions
        return [self.row("mate", i, known[i % len(known)]) for i in range(n)]

    def strangers(self, n: int) -> list[RolloutRequest]:
        """Of another prompt, in suffixes of more blocks than the rows'."""
        prompt, known = self.other_prompt, self.conditions
        return [
            RolloutRequest(
                prompt, len(prompt) - LONG_TAIL, known[i % len(known)], NoiseKey(1, "far", "v", i)
            )
            for i in range(n)
        ]

    def play(
        self, requests: Sequence[RolloutRequest], slots: int, poll: int = 1
    ) -> dict[str, Tensor]:
        """Logits of every row, by its name."""
        engine = SteeredEngine(self.model, slots)
        engine.poll = poll
        played = record(engine, requests, SamplingParams(STEPS, 1.0))
        names = [f"{asked.noise.scenario} {asked.noise.rollout}" for asked in requests]
        return dict(zip(names, played.logits, strict=True))


def batches(world: World) -> dict[str, tuple[list[RolloutRequest], int, int]]:
    """Requests, slots and poll."""
    rows, one = world.rows, world.conditions[1:2]
    sizes = {f"{n} rows": ([*rows, *world.mates(n - 4)], n, 1) for n in ROW_COUNTS[1:]}
    return sizes | {
        "the rows in another order": ([rows[3], rows[2], rows[0], rows[1]], 4, 1),
        "last among many of one condition": ([*world.mates(28, one), *rows], 32, 8),
        "between strangers with longer suffixes": (
            [*world.strangers(3), *rows[::-1], *world.mates(2)],
            9,
            1,
        ),
        "refilled into slots of others": (
            [*world.mates(5), *rows, *world.strangers(5)],
            5,
            1,
        ),
        "refilled, several steps at a time": ([*world.strangers(9), *rows[::-1]], 8, 8),
    }


def differing(world: World, names: Sequence[str] = ()) -> dict[str, list[str]]:
    """By batch, the rows whose bits are not those of the smallest batch."""
    wanted = world.play(world.rows, 4)
    found = {}
    for name, (requests, slots, poll) in batches(world).items():
        if not names or name in names:
            got = world.play(requests, slots, poll)
            found[name] = [row for row in wanted if not torch.equal(got[row], wanted[row])]
    return {name: rows for name, rows in found.items() if rows}


def test_bits_do_not_depend_on_the_batch(tiny_float32: LoadedModel) -> None:
    assert differing(World(tiny_float32, 4.0)) == {}


@pytest.mark.model
def test_bits_do_not_depend_on_the_batch_on_a_real_model(embedded_model: LoadedModel) -> None:
    assert differing(World(embedded_model, 20.0)) == {}


def test_bits_depend_on_left_over_queries_without_padding(
    tiny_float32: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control: these batches do meet kernels that round otherwise."""
    monkeypatch.setattr(cascade, "QUERIES_MULTIPLE", 1)

    assert differing(World(tiny_float32, 4.0), ["8 rows"])


def test_bits_depend_on_the_slot_where_merges_are_not_in_whole_lanes(
    tiny_float32: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control, on processors that take more than one number at a time by a path of its own."""
    monkeypatch.setattr(attention, "LANES", 1)
    alone = torch.sigmoid(numbers := torch.linspace(-9, 9, 999))
    if all(torch.equal(torch.sigmoid(x[None])[0], y) for x, y in zip(numbers, alone, strict=True)):
        pytest.skip("this processor rounds a number alone as it does among others")

    assert differing(World(tiny_float32, 4.0))


@pytest.mark.model
def test_a_pass_of_one_row_has_other_bits(embedded_model: LoadedModel) -> None:
    """Control: rows fed one by one take another path than rows fed together."""
    world = World(embedded_model, 20.0)
    together = world.play(world.rows, 4)
    real = Slots.feed_live

    def one_by_one(self: Slots, n_live: int) -> Any:
        fed = [self.feed_one(slot, [int(self.next_ids[slot])]) for slot in range(n_live)]
        logits = torch.cat([one.logits for one in fed])
        norms = torch.cat([one.added_norms for one in fed])
        return replace(fed[0], logits=logits, added_norms=norms)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Slots, "feed_live", one_by_one)
        alone = world.play(world.rows, 4)

    assert Slots.feed_live is real
    for row, logits in together.items():
        assert torch.equal(alone[row][0], logits[0]), "the prompt's last token is fed alone anyway"
        assert not torch.equal(alone[row], logits)
        assert (alone[row] - logits).abs().max() < 1e-3


@contextmanager
def unhooked(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Without the hooks that steer, and without the receipts that would miss them."""
    with monkeypatch.context() as patch:
        patch.setattr(SteeringBank, "applied_to", lambda *_: nullcontext())
        patch.setattr(collect, "check_count", lambda *_: None)
        yield


def test_a_row_at_strength_zero_equals_one_without_the_hook(
    tiny_float32: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tiny_float32, 4.0)
    requests = [*world.rows, *world.mates(4)]
    hooked = world.play(requests, 8)
    with unhooked(monkeypatch):
        plain = world.play(requests, 8)

    for row, asked in zip(hooked, requests, strict=True):
        assert torch.equal(hooked[row], plain[row]) == asked.steering.is_zero, row


@pytest.mark.parametrize("what", ["vector", "strength", "sign"])
def test_changing_a_mate_changes_no_other_bit(tiny_float32: LoadedModel, what: str) -> None:
    """Groups stay as large as they were: the changed condition has one row before and after."""
    world = World(tiny_float32, 4.0)
    changed = {"vector": world.direction.flip(0), "strength": 2 * world.direction}
    other = Steering(world.rows[1].steering.layer, changed.get(what, -world.direction), True)
    before = [*world.rows, *world.mates(3, world.conditions[:1])]
    after = [replace(r, steering=other) if r is world.rows[1] else r for r in before]

    first, second = world.play(before, 7), world.play(after, 7)

    equal = {row: torch.equal(first[row], second[row]) for row in first}
    assert [row for row, same in equal.items() if not same] == ["row 1"]


def test_the_probe_looks_at_the_last_row_too(
    tiny_float32: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that rounds only the last row of a batch otherwise is told apart."""
    assert probe_exactness(tiny_float32, 8, "cascade").exact
    real = Slots.feed_live

    def other_at_the_end(self: Slots, n_live: int) -> Any:
        fed = real(self, n_live)
        nudged = fed.logits.clone()
        nudged[-1] = nudged[-1].nextafter(torch.tensor(torch.inf))
        return replace(fed, logits=nudged)

    monkeypatch.setattr(Slots, "feed_live", other_at_the_end)

    assert not probe_exactness(tiny_float32, 8, "cascade").exact
