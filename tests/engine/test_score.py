"""Packed, split and shared scoring equals one sequence at a time."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from naive import float64_throughout, steered_logits
from tiny_models import CONFIGS, tiny_model

from emoctl.engine import packing
from emoctl.engine.packing import Pack, ScoreTree, packs
from emoctl.engine.score import BranchScore, read_prefix, score
from emoctl.engine.steering import Steering
from emoctl.errors import ModelError, SteeringError
from emoctl.models.loading import LoadedModel

PREFIX = [1, *range(5, 40)]
TREE = ScoreTree(
    trunk=(7, 8, 9),
    branches=(
        (10,),
        (10, 11, 12),
        (10, 11, 13, 14, 15),
        (20, 21, 22, 23, 24, 25, 26, 27),
        (30, 31),
        (10, 11, 12),
    ),
    response_start=len(PREFIX) + 1,
)


def steering(size: float, everywhere: bool, layer: int = 2) -> Steering:
    direction = torch.linspace(-1, 1, 32) ** 3
    return Steering(layer, size * direction / direction.norm(), everywhere)


def conditions(everywhere: bool) -> list[Steering]:
    return [steering(0.0, True), steering(4.0, everywhere), steering(-4.0, everywhere)]


def one_at_a_time(model: LoadedModel, tree: ScoreTree, condition: Steering) -> list[float]:
    sums = []
    for branch in tree.branches:
        path = [*PREFIX, *tree.trunk, *branch]
        start = condition.steer_from(tree.response_start)
        logprobs = torch.log_softmax(steered_logits(model, path, condition, start), -1)
        first = len(path) - len(branch) - 1
        sums.append(sum(logprobs[first + i, t].item() for i, t in enumerate(branch)))
    return sums


def scored(model: LoadedModel, tree: ScoreTree, rows: list[Steering]) -> list[list[BranchScore]]:
    return [by_tree[0] for by_tree in score(model, read_prefix(model, PREFIX, rows), [tree], rows)]


@pytest.mark.parametrize("everywhere", [True, False])
@pytest.mark.parametrize("name", CONFIGS)
def test_packed_scores_equal_one_sequence_at_a_time(name: str, everywhere: bool) -> None:
    model, rows = tiny_model(name), conditions(everywhere)

    with float64_throughout():
        ours = scored(model, TREE, rows)
        reference = [one_at_a_time(model, TREE, condition) for condition in rows]

    for row, expected in enumerate(reference):
        assert [s.logprob for s in ours[row]] == pytest.approx(expected, rel=1e-9)
    assert ours[0][3].logprob != pytest.approx(ours[1][3].logprob, abs=1e-3), "control"


def test_several_packs_equal_one(monkeypatch: pytest.MonkeyPatch) -> None:
    model, rows = tiny_model(), conditions(everywhere=False)
    whole = scored(model, TREE, rows)

    monkeypatch.setattr(packing, "PACKED_TOKENS", 8)

    assert len(packs(TREE)) > 2
    for some, all_ in zip(scored(model, TREE, rows), whole, strict=True):
        assert [s.logprob for s in some] == pytest.approx([s.logprob for s in all_], rel=1e-9)


@pytest.mark.parametrize(("everywhere", "before"), [(True, 0), (False, len(PREFIX))])
def test_a_score_says_how_many_positions_were_steered(everywhere: bool, before: int) -> None:
    model = tiny_model()

    unsteered, steered, _ = scored(model, TREE, conditions(everywhere))

    path = len(PREFIX) + len(TREE.trunk)
    assert [s.n_steered for s in steered] == [path + len(b) - 1 - before for b in TREE.branches]
    assert {s.n_steered for s in unsteered} == {0}


def test_an_unsteered_prefix_is_read_once_for_all_conditions() -> None:
    model = tiny_model()

    shared = read_prefix(model, PREFIX, conditions(everywhere=False))
    split = read_prefix(model, PREFIX, conditions(everywhere=True))

    assert [k.shape[0] for k in shared.keys] == [1, 1, 1, 1]
    assert [k.shape[0] for k in split.keys] == [1, 1, 1, 3], "above the steered layer, one a row"


def test_a_score_that_steers_nothing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    model, rows = tiny_model(), conditions(everywhere=False)
    assert scored(model, TREE, rows), "control"

    monkeypatch.setattr(
        "emoctl.engine.steering.add_steering",
        lambda resid, added, *_rest: resid.expand(len(added), -1, -1),
    )

    with pytest.raises(SteeringError, match="steered 0 positions"):
        scored(model, TREE, rows)


def test_conditions_of_one_call_agree_on_layer_and_positions() -> None:
    model = tiny_model()
    prefix = read_prefix(model, PREFIX, ())

    for other in (steering(4.0, False, layer=1), steering(4.0, True)):
        with pytest.raises(ValueError, match="one layer and the same positions"):
            score(model, prefix, [TREE], [steering(4.0, False), other])


def test_an_architecture_without_positions_is_refused() -> None:
    model = tiny_model()
    module = SimpleNamespace(
        forward=lambda input_ids: input_ids, parameters=model.module.parameters
    )
    blind = replace(model, module=module)

    with pytest.raises(ModelError, match="takes no position_ids"):
        score(blind, read_prefix(model, PREFIX, ()), [TREE], conditions(False))


BRANCHES = st.lists(
    st.lists(st.integers(0, 3), min_size=1, max_size=6).map(tuple), min_size=1, max_size=8
)


@given(BRANCHES, st.integers(0, 5), st.integers(1, 4))
def test_a_pack_lets_a_token_see_its_own_path_and_nothing_else(
    branches: list[tuple[int, ...]], n_prefix: int, n_trunk: int
) -> None:
    trunk = tuple(range(50, 50 + n_trunk))
    pack = Pack.of(trunk, branches, n_prefix, torch.device("cpu"))
    ids = pack.token_ids.tolist()
    paths = {(*trunk, *b[:i]) for b in branches for i in range(len(b) + 1)}

    for token, seen in enumerate(pack.sees_token):
        path = tuple(ids[i] for i in seen.nonzero()[:, 0].tolist())
        assert path[-1] == ids[token]
        assert path in paths or path == trunk[: len(path)]
        assert pack.positions[token] == n_prefix + len(path) - 1
    predictors = pack.predicts[pack.source].tolist()
    expected = [(*trunk, *b[:i]) for b in branches for i in range(len(b))]
    seen_by = [
        tuple(ids[i] for i in pack.sees_token[p].nonzero()[:, 0].tolist()) for p in predictors
    ]
    assert seen_by == expected
    assert pack.targets.tolist() == [t for b in branches for t in b]
