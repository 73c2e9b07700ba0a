"""Validation tables on planted truth: shares, intervals, reliability, geometry, messages."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emoctl.analysis.validation.emotions import spearman_brown
from emoctl.analysis.validation.geometry import (
    apart,
    apart_by_luck,
    cluster_agreement,
    geometry,
    norms_table,
    read_norms,
    separation,
    unit_rows,
    valence_axis,
)
from emoctl.analysis.validation.messages import implicit_messages, sign_test, slopes
from emoctl.analysis.validation.readers import ranks, reader_table, resampled
from emoctl.errors import StoriesError
from emoctl.vectors.validation.measurements import Reader

EMOTIONS = ("angry", "calm", "glad", "mad", "sad", "serene")
CLUSTERS = {"angry": "A", "mad": "A", "calm": "B", "serene": "B", "glad": "C"}
PLEASANT = {"angry": False, "mad": False, "calm": True, "serene": True, "glad": True}


def reader(name: str, right: float, n_each: int = 20, seed: int = 1) -> Reader:
    """Names the own emotion in a share of stories, and its neighbour by number in the others."""
    own = np.repeat(np.arange(6), n_each)
    scores = np.random.default_rng(seed).uniform(0, 0.1, (len(own), 6))
    hit = np.arange(len(own)) % n_each < right * n_each
    scores[np.arange(len(own)), np.where(hit, own, (own + 1) % 6)] = 1
    return Reader(name, scores.astype(np.float32), own)


def test_shares_chance_and_leads_of_readers() -> None:
    table = reader_table(
        [reader("vectors", 0.75), reader("words", 0.25)], EMOTIONS, CLUSTERS, ("calm", "sad"), 0.95
    ).set_index(["reader", "task"])
    vectors, words = table.loc[("vectors", "top-1")], table.loc[("words", "top-1")]
    assert vectors["share"] == 0.75
    assert words["share"] == 0.25
    assert vectors["low"] <= 0.75 <= vectors["high"]
    assert vectors["chance"] == pytest.approx(1 / 6)
    assert words["lead"] == pytest.approx(0.5)
    assert words["lead_low"] > 0
    assert np.isnan(vectors["lead"])
    assert table.loc[("vectors", "top-5")]["share"] > 0.75
    cluster = table.loc[("vectors", "cluster")]
    assert cluster["n"] == 100, "an emotion without a cluster is not counted"
    assert cluster["chance"] == pytest.approx((4 * 2 / 6 + 1 / 6) / 5)
    assert table.loc[("vectors", "2-way")]["n"] == 40
    assert table.loc[("vectors", "2-way")]["chance"] == 0.5


def test_another_labelling_has_no_lead() -> None:
    other = reader("shuffled", 0.5)
    turned = Reader("shuffled", other.scores, other.own[::-1].copy())
    table = reader_table([reader("vectors", 0.75), turned], EMOTIONS, {}, (), 0.95)
    assert table[table["reader"] == "shuffled"]["lead"].isna().all()
    assert set(table["task"]) == {"top-1", "top-5"}, "no cluster is known"


def test_an_interval_over_groups_is_wider_than_one_over_stories() -> None:
    """Ten emotions, all or nothing each: there are ten observations, not two hundred."""
    groups = np.repeat(np.arange(10), 20)
    together = np.repeat(np.arange(10) % 2, 20).astype(float)
    low, high = resampled(together, groups, 0.95)
    apart = resampled(together, np.arange(200), 0.95)
    assert high - low > 2 * (apart[1] - apart[0])
    assert resampled(together, groups, 0.95) == (low, high), "the same twice"


@given(st.lists(st.lists(st.floats(-1, 1), min_size=5, max_size=5), min_size=1, max_size=8))
def test_ranks_count_what_scores_as_high(rows: list[list[float]]) -> None:
    scores = np.array(rows)
    own = np.arange(len(rows)) % 5
    for rank, row, mine in zip(ranks(scores, own), rows, own, strict=True):
        assert rank == sum(value >= row[mine] for value in row) - 1


def test_spearman_brown() -> None:
    assert spearman_brown(np.array([0.0, 0.5, 1.0])).tolist() == pytest.approx([0, 2 / 3, 1])
    assert spearman_brown(np.array([-0.4])).tolist() == [-0.4], "no meaning below 0"


def vectors() -> np.ndarray:
    """Valence along axis 0, clusters along the others."""
    made = np.zeros((6, 8))
    for i, emotion in enumerate(EMOTIONS):
        made[i, 0] = {True: 3.0, False: -3.0, None: 0.0}[PLEASANT.get(emotion)]
        made[i, {"A": 1, "B": 2, "C": 3}.get(CLUSTERS.get(emotion, ""), 4)] = 1
        made[i, 5:] = np.random.default_rng(i).normal(0, 0.1, 3)
    return made


def test_planted_valence_is_the_first_component() -> None:
    found = geometry(vectors(), EMOTIONS, PLEASANT)
    assert separation(found.components[:, 0], found.emotions, PLEASANT) == 1.0
    assert found.explained[0] > 0.6
    assert set(found.emotions) == set(EMOTIONS)
    place = {e: i for i, e in enumerate(found.emotions)}
    assert abs(place["angry"] - place["mad"]) == 1, "similar ones stand together"
    assert abs(place["calm"] - place["serene"]) == 1
    assert np.allclose(np.diag(found.cosines), 1)
    assert found.cosines[place["angry"], place["mad"]] > 0.9
    turned = geometry(-vectors(), EMOTIONS, {e: not p for e, p in PLEASANT.items()})
    assert separation(turned.components[:, 0], turned.emotions, PLEASANT) == 0.0, "sign is anchored"
    assert np.isnan(separation(found.components[:, 0], found.emotions, {}))


def test_the_valence_axis_places_an_emotion_without_itself() -> None:
    drawn = unit_rows(np.random.default_rng(3).normal(size=(40, 200)))
    names = tuple(f"e{k}" for k in range(40))
    sides = {name: k % 2 == 0 for k, name in enumerate(names)}
    honest = valence_axis(drawn, names, sides)
    assert separation(honest, names, sides) < 0.75, "nothing was planted"
    up = np.array([sides[n] for n in names])
    cheating = drawn @ (drawn[up].mean(0) - drawn[~up].mean(0))
    assert separation(cheating, names, sides) == 1.0, "control: with itself, noise separates"
    assert (
        separation(valence_axis(unit_rows(vectors()), EMOTIONS, PLEASANT), EMOTIONS, PLEASANT) == 1
    )


def test_k_means_finds_planted_clusters() -> None:
    index, found = cluster_agreement(unit_rows(vectors()), EMOTIONS, CLUSTERS)
    assert found[0] == found[3]
    assert found[1] == found[5]
    assert index > 0.5
    assert np.isnan(cluster_agreement(unit_rows(vectors()), EMOTIONS, {})[0])


def test_norms_correlate_with_the_component_that_holds_them(tmp_path: Path) -> None:
    path = tmp_path / "norms.csv"
    rows = "".join(f"{e},{9 if PLEASANT[e] else 1}.{k},{k}\n" for k, e in enumerate(PLEASANT))
    path.write_text("word,valence,arousal\n" + rows, encoding="utf-8")
    found = geometry(vectors(), EMOTIONS, PLEASANT)
    table = norms_table(found, read_norms(path, EMOTIONS)).set_index(["component", "rating"])
    assert table.loc[("pc1", "valence")]["r"] > 0.95
    assert table.loc[("pc1", "valence")]["n"] == 5
    assert table.loc[("pc1", "valence")]["low"] < table.loc[("pc1", "valence")]["r"]
    with pytest.raises(StoriesError, match="1 of 6 emotions are in the file"):
        read_norms(path, ("calm", *"abcde"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("word,valence\ncalm,1\n", "lacks the column 'arousal'"),
        ("word,valence,arousal\ncalm,high,2\n", ":2: valence and arousal must be numbers"),
        ("word,valence,arousal\ncalm,1\n", ":2: valence and arousal must be numbers"),
        ("word,valence,arousal\ncalm,nan,1\n", ":2: valence and arousal must be numbers"),
    ],
)
def test_bad_norms_are_named(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "norms.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(StoriesError, match=said):
        read_norms(path, EMOTIONS)
    with pytest.raises(StoriesError, match="cannot be read"):
        read_norms(tmp_path / "none.csv", EMOTIONS)


def cosines_of(strength: float, n_each: int = 10) -> tuple[np.ndarray, list[str]]:
    """Messages of three emotions among six vectors; one vector lies near everything."""
    writers = [e for e in ("angry", "calm", "sad") for _ in range(n_each)]
    made = np.random.default_rng(5).normal(0, 0.05, (len(writers), 6))
    made[:, 1] += 5
    for i, emotion in enumerate(writers):
        made[i, EMOTIONS.index(emotion)] += strength
    return made, writers


def test_implicit_messages_are_centred_per_vector() -> None:
    made, writers = cosines_of(1.0)
    found = implicit_messages(made, writers, EMOTIONS, 0.95)
    top1 = found.summary.set_index("k").loc[1]
    assert top1["share"] == 1.0
    assert top1["p"] < 0.001
    assert top1["shuffled_high"] < 0.7
    assert np.argmax(made, 1).tolist() == [1] * 30, "control: without centring all say calm"
    assert found.confusion.argmax(1).tolist() == [0, 1, 2]
    nothing = implicit_messages(*cosines_of(0.0), EMOTIONS, 0.95).summary.set_index("k").loc[1]
    assert nothing["shuffled_low"] <= nothing["share"] <= nothing["shuffled_high"], "control"
    assert nothing["p"] > 0.025


def test_slopes_are_of_the_logarithm_and_signed() -> None:
    values = [1, 10, 100, 1000]
    assert slopes(np.array([0.0, 0.1, 0.2, 0.3]), values, 1) == pytest.approx((0.3, 1.0))
    assert slopes(np.array([0.0, 0.1, 0.2, 0.3]), values, -1) == pytest.approx((-0.3, -1.0))
    assert slopes(np.array([0.1, -0.1, -0.1, 0.1]), values, 1)[0] == pytest.approx(0)


def test_a_sign_test_says_how_many_and_by_what_luck() -> None:
    found = sign_test([1.0] * 9 + [-1.0], 0.95)
    assert (found["right"], found["n"]) == (9, 10)
    assert found["p"] == pytest.approx(11 / 1024)
    assert found["low"] < 0.9 < found["high"]
    assert sign_test([1.0, -1.0], 0.95)["p"] > 0.5


def test_an_auc_has_its_luck_beside_it() -> None:
    drawn = np.random.default_rng(2).normal(size=(60, 4))
    names = tuple(f"e{k}" for k in range(60))
    sides = {name: k % 2 == 0 for k, name in enumerate(names)}
    first, best = apart_by_luck(drawn, names, sides)
    assert 0.55 < first < best < 0.75
    assert apart(0.2) == 0.8
    planted = np.column_stack([[1.0 if sides[n] else -1.0 for n in names], drawn[:, 1]])
    assert apart(separation(planted[:, 0], names, sides)) > first
    assert np.isnan(apart_by_luck(drawn, names, {})[0])
