"""What conditions are made of: ids, strengths, and controls that match the emotions."""

from collections import Counter
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
import torch
from toys import provenance, toy_vectors

from emoctl.config import ExperimentConfig
from emoctl.errors import ConfigError, UnknownEmotionError, VectorError
from emoctl.sweep.conditions import Condition, condition_id, make_conditions, steering_layer

VECTORS = toy_vectors()


def config(
    controls: dict[str, Any] | None = None, seed: int = 0, **steering: Any
) -> ExperimentConfig:
    return ExperimentConfig.model_validate(
        {
            "schema": "emoctl/1",
            "readouts": {"choice": {}},
            "steering": steering,
            "controls": controls or {},
            "seed": seed,
        }
    )


def made(n_controls: int = 0, seed: int = 0, **steering: Any) -> list[Condition]:
    return make_conditions(VECTORS, config(seed=seed, **steering), "all", n_controls)


def controls(n: int, seed: int = 0, **steering: Any) -> list[Condition]:
    return [c for c in made(n, seed, **steering) if c.record.control != "none"]


def ids(conditions: list[Condition]) -> list[str]:
    return [c.record.id for c in conditions]


def test_an_id_changes_with_bytes_layer_strength_and_positions() -> None:
    direction = torch.nn.functional.normalize(VECTORS.vectors[0, 2], dim=0)
    nudged = direction.clone()
    nudged[5] = torch.nextafter(nudged[5], nudged[5] + 1)
    one = condition_id(direction, 2, "0.05", "all")
    others = {
        condition_id(nudged, 2, "0.05", "all"),
        condition_id(-direction, 2, "0.05", "all"),
        condition_id(direction, 3, "0.05", "all"),
        condition_id(direction, 2, "-0.05", "all"),
        condition_id(direction, 2, "0.1", "all"),
        condition_id(direction, 2, "0.05", "response"),
    }
    assert len(others - {one}) == 6
    assert one.startswith("c-")
    assert len(one) == 14
    assert one == condition_id(direction.clone(), 2, "0.05", "all")
    strided = torch.stack([direction, direction], dim=1)[:, 0]
    assert not strided.is_contiguous()
    assert one == condition_id(strided, 2, "0.05", "all")


def test_fields_of_an_id_do_not_run_together() -> None:
    direction = torch.ones(4)
    assert condition_id(direction, 1, "10", "all") != condition_id(direction, 11, "0", "all")


def test_ids_do_not_change_with_anything_else() -> None:
    two = made(vectors=["desperate", "calm"], strengths=[-0.05, 0.05])
    assert len(set(ids(two))) == len(two) == 5
    others = [
        made(vectors=["calm", "desperate"], strengths=[0.05, -0.05]),
        made(vectors=["desperate", "calm"], strengths=["0.050", "-5e-2"]),
        made(vectors=["desperate", "calm"], strengths=[-0.05, 0.05], seed=9),
        made(vectors=["desperate", "calm"], strengths=[-0.05, 0, 0.05]),
        made(vectors=["desperate", "calm"], strengths=[-0.05, 0.05], layer=2),
    ]
    for other in others:
        assert set(ids(other)) == set(ids(two))
    fewer = made(vectors=["calm"], strengths=[0.05])
    assert set(ids(fewer)) < set(ids(two)), "choosing fewer emotions changes no vector"

    def anew(**changed: Any) -> set[str]:
        vectors = replace(VECTORS, **changed)
        made = make_conditions(vectors, config(strengths=[-0.05, 0.05]), "all", 0)
        return set(ids(made))

    assert anew(provenance=provenance(n_stories=1000)) == set(ids(two))
    assert anew(vectors=VECTORS.vectors + 1e-3) & set(ids(two)) == {two[0].record.id}


def test_two_thirds_is_the_layer_that_the_file_names() -> None:
    for asked, layer in (("two-thirds", 2), (0, 0), (3, 3)):
        assert steering_layer(VECTORS, config(layer=asked)) == layer
        assert {c.record.layer for c in made(layer=asked)} == {layer}


@pytest.mark.parametrize("layer", [4, 99])
def test_a_layer_beyond_the_model_is_refused(layer: int) -> None:
    with pytest.raises(ConfigError, match=f"steering.layer is {layer}; .* layers 0 to 3"):
        made(layer=layer)


def test_an_emotion_that_the_file_does_not_hold_is_refused() -> None:
    with pytest.raises(UnknownEmotionError, match="'serene'"):
        made(vectors=["serene"])


def test_a_vector_without_a_direction_is_refused() -> None:
    flat = VECTORS.vectors.clone()
    flat[0, 2] = 0
    vectors = replace(VECTORS, vectors=flat)
    with pytest.raises(VectorError, match="calm at layer 2 has no direction"):
        make_conditions(vectors, config(vectors=["calm"]), "all", 0)


def test_strengths_are_exact() -> None:
    by_strength = {c.record.strength: c for c in made(vectors=["calm"], strengths=[-0.05, "0.050"])}
    assert set(by_strength) == {"0", "-0.05", "0.05"}
    plus, minus = by_strength["0.05"], by_strength["-0.05"]
    assert plus.record.id != minus.record.id
    assert torch.equal(plus.direction, minus.direction)
    assert plus.record.coefficient == -minus.record.coefficient == pytest.approx(0.05 * 40)
    assert torch.equal(plus.steering.added, -minus.steering.added)
    assert float(plus.steering.added.norm()) == pytest.approx(0.05 * 40, rel=1e-6)
    raw = VECTORS.vectors[0, 2]
    assert torch.allclose(plus.direction, raw / raw.norm())
    assert float(raw.norm()) > 2, "control: the vector itself is longer than its direction"


def test_the_coefficient_follows_the_layers_norm() -> None:
    for layer, norm in enumerate((10, 20, 40, 80)):
        _, condition = made(vectors=["calm"], strengths=[0.1], layer=layer)
        assert condition.record.coefficient == pytest.approx(0.1 * norm)


def test_unsteered_comes_first_once_and_is_shared() -> None:
    conditions = made(vectors=["calm", "happy"], strengths=[-0.1, 0, 0.1])
    first = conditions[0]
    assert first.record.vector == "unsteered"
    assert [c.record.strength for c in conditions].count("0") == 1
    assert first.steering.is_zero
    assert not any(c.steering.is_zero for c in conditions[1:]), "control"
    for other in (
        made(layer=1, vectors=["calm"])[0],
        make_conditions(toy_vectors(seed=5), config(), "response", 0)[0],
    ):
        assert other.record.id == first.record.id


def test_positions_reach_the_engine() -> None:
    for positions, everywhere in (("all", True), ("response", False)):
        conditions = make_conditions(VECTORS, config(), positions, 3)  # type: ignore[arg-type]
        assert all(c.steering.everywhere is everywhere for c in conditions[1:])
        assert all(c.record.positions == positions for c in conditions[1:])
        assert all(c.steering.layer == 2 for c in conditions)


def test_only_strength_0_means_no_controls() -> None:
    assert [c.record.vector for c in made(9, strengths=[0])] == ["unsteered"]
    assert len(made(9, strengths=[0, 0.05], vectors=["calm"])) == 1 + 1 + 9, "control"


@pytest.mark.parametrize(
    ("n", "shares"),
    [(3, (1, 1, 1)), (9, (3, 3, 3)), (1, (1, 0, 0)), (8, (3, 3, 2)), (15, (5, 5, 5))],
)
def test_controls_come_in_equal_shares(n: int, shares: tuple[int, int, int]) -> None:
    found = controls(n)
    count = Counter(c.record.vector.rpartition("-")[0] for c in found)
    kinds = ("shuffled", "random-isotropic", "random-neutral")
    assert tuple(count[kind] for kind in kinds) == shares
    assert {c.record.vector: c.record.control for c in found} == {
        f"{kind}-{i:02d}": "shuffled" if kind == "shuffled" else "random"
        for kind, share in zip(kinds, shares, strict=True)
        for i in range(share)
    }
    assert len(set(ids(found))) == n


def test_controls_add_as_much_as_the_emotions() -> None:
    conditions = made(9, strengths=[-0.1, -0.05, 0.05, 0.1])
    found = [c for c in conditions if c.record.control != "none"]
    emotion = next(c for c in conditions if c.record.strength == "0.05")
    strong = next(c for c in conditions if c.record.strength == "0.1")
    wanted = float(emotion.steering.added.norm())
    for control in found:
        assert control.record.strength == "0.05"
        assert float(control.steering.added.norm()) == pytest.approx(wanted, rel=1e-6)
        assert control.record.coefficient == emotion.record.coefficient
    assert float(strong.steering.added.norm()) == pytest.approx(2 * wanted), "control"


@pytest.mark.parametrize(
    ("asked", "primary"),
    [({"primary_strength": -0.1}, "-0.1"), ({}, "0.04"), ({"exact": 0}, "0.04")],
)
def test_controls_run_at_the_primary_strength(asked: dict[str, Any], primary: str) -> None:
    settings = config(asked, strengths=[-0.1, 0.04, 0.2])
    found = make_conditions(VECTORS, settings, "all", 3)
    assert {c.record.strength for c in found if c.record.control != "none"} == {primary}


def test_random_controls_are_orthogonal_to_every_emotion() -> None:
    emotions = torch.nn.functional.normalize(VECTORS.vectors[:, 2], dim=-1)
    found = controls(15)
    cosines = {c.record.vector: float((emotions @ c.direction).abs().max()) for c in found}
    assert max(v for k, v in cosines.items() if k.startswith("random")) < 1e-5
    assert max(v for k, v in cosines.items() if k.startswith("shuffled")) > 0.1, "control"
    elsewhere = torch.nn.functional.normalize(VECTORS.vectors[:, 1], dim=-1)
    others = [float((elsewhere @ c.direction).abs().max()) for c in found[5:]]
    assert max(others) > 0.1, "control: orthogonal at their own layer"


def test_shuffled_controls_are_the_files() -> None:
    for i, control in enumerate(controls(9)[:3]):
        raw = VECTORS.shuffled[i, 2]
        assert torch.allclose(control.direction, raw / raw.norm())


def test_controls_are_a_function_of_the_seed() -> None:
    one, again, other = (ids(controls(6, seed)) for seed in (1, 1, 2))
    assert one == again
    assert one[:2] == other[:2], "shuffled ones stand in the file"
    assert not set(one[2:]) & set(other[2:])


def test_more_shuffled_controls_than_the_file_holds_are_refused() -> None:
    assert len(controls(15)) == 15
    with pytest.raises(ConfigError, match="need 6 shuffled-label vectors; the file holds 5") as no:
        made(16)
    assert no.value.hint == "ask for at most 15"


def test_strengths_of_a_condition_are_canonical() -> None:
    assert config(strengths=["0.050"]).steering.strengths == (Decimal("0.05"),)
    assert ids(made(strengths=["0.050"])) == ids(made(strengths=[0.05]))
    assert ids(made(strengths=["0.051"])) != ids(made(strengths=[0.05]))
