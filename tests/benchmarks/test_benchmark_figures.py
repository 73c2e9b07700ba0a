"""Ratios, extrapolation, roofline, the load of others, and the gate, on known numbers."""

import math
from dataclasses import replace

import pytest

from benchmarks.gate import difference, judge, log_sum_exp
from benchmarks.job import Condition, Job, Outcome
from benchmarks.machine import Clocks, Load, load_between
from benchmarks.ratios import extrapolated_seconds, ratio
from benchmarks.roofline import (
    Rates,
    Shape,
    Step,
    bound_seconds,
    expanded_bytes,
    prompt_copies,
    read_seconds,
    work_seconds,
)

SMOLLM = Shape(576, 1536, 30, 9, 3, 64, 49152)
RATES = Rates(flops=80e9, read_bytes=16e9)


def test_a_ratio_is_of_medians_and_its_interval_holds_it() -> None:
    found = ratio([10.0, 11.0, 12.0, 11.5, 30.0], [1.0, 1.1, 1.0, 1.0, 1.05])
    assert found.value == pytest.approx(11.5)
    assert found.low is not None and found.high is not None
    assert found.low < found.value < found.high
    assert str(found).startswith("11.50× (")
    tight = ratio([10.0] * 5, [1.0] * 5)
    assert (tight.low, tight.high) == (10.0, 10.0)


def test_a_single_run_has_a_ratio_and_no_interval() -> None:
    found = ratio([10.0], [2.0, 2.0])
    assert (found.value, found.low, found.high) == (5.0, None, None)
    assert str(found) == "5.00×"


def test_the_prompt_gives_the_first_token_and_every_other_takes_a_step() -> None:
    assert extrapolated_seconds(2.0, 0.5, 5) == 4.0
    assert extrapolated_seconds(2.0, 0.5, 5, times=8) == 32.0
    assert extrapolated_seconds(2.0, None, 1) == 2.0
    assert extrapolated_seconds(2.0, None, 5) is None


def test_the_shape_counts_what_a_step_reads() -> None:
    layer = 576 * 576 * 2 + 576 * 192 * 2 + 3 * 576 * 1536
    assert SMOLLM.linear_weights == 30 * layer + 576 * 49152
    assert SMOLLM.kv_bytes == 30 * 3 * 64 * 2 * 4
    assert expanded_bytes(SMOLLM, 2, 10) == 20 * SMOLLM.kv_bytes + SMOLLM.weight_bytes


def test_many_rows_are_bound_by_work_and_one_by_reading() -> None:
    many = Step(32, 1, 1024, 32, 0.7)
    flops = 2 * SMOLLM.linear_weights * 32 + 4 * 30 * 9 * 64 * (1024 + 32) * 32
    assert bound_seconds(SMOLLM, many, RATES) == pytest.approx(flops / 80e9)
    one = replace(many, rows=1)
    read = SMOLLM.weight_bytes + (1024 + 32) * SMOLLM.kv_bytes
    assert bound_seconds(SMOLLM, one, RATES) == pytest.approx(read / 16e9)
    assert work_seconds(SMOLLM, one, RATES) < read_seconds(SMOLLM, one, RATES)


def test_conditions_read_the_prompt_once_below_the_steered_layer() -> None:
    step = Step(32, 8, 1024, 0, 0.75)
    assert prompt_copies(step) == pytest.approx(0.75 + 8 * 0.25)
    read = SMOLLM.weight_bytes + 1024 * SMOLLM.kv_bytes * 2.75
    assert read_seconds(SMOLLM, step, RATES) == pytest.approx(read / 16e9)
    assert prompt_copies(replace(step, conditions=1)) == 1.0


def test_what_others_used_is_seen_and_flagged() -> None:
    before, after = Clocks(0.0, 100.0, 50.0), Clocks(10.0, 118.0, 65.0)
    load = load_between(before, after, cores=2, load_average=1.5)
    assert load.others_share == pytest.approx(3 / 20)
    assert load.flagged
    assert not load_between(before, Clocks(10.0, 116.0, 65.0), 2, 1.5).flagged
    assert load_between(before, Clocks(10.0, 110.0, 65.0), 2, 1.5) == Load(1.5, 0.0)


JOB = Job(
    "m",
    (1, 2),
    (Condition(0, (0.0,)), Condition(0, (1.0,))),
    rows=2,
    new_tokens=2,
    seed=1,
    greedy=True,
    keep_outputs=True,
)
PLAIN, STEERED = (1.0, 2.0, 4.0), (1.0, 3.0, 4.0)
TOKENS = ((2, 2), (2, 2), (2, 1), (2, 1))
REFERENCE = Outcome(first_logits=(PLAIN, STEERED), tokens=TOKENS)


def test_a_peer_that_agrees_passes_also_with_log_probabilities() -> None:
    shifted = tuple(tuple(x - log_sum_exp(row) for x in row) for row in (PLAIN, STEERED))
    verdict = judge(JOB, REFERENCE, replace(REFERENCE, first_logits=shifted))
    assert verdict.passed
    assert verdict.error < 1e-9
    assert verdict.effect > 0.1


def test_a_peer_that_does_not_steer_fails_unless_it_says_so() -> None:
    silent = Outcome(first_logits=(PLAIN, PLAIN), tokens=(TOKENS[0],) * 4)
    assert not judge(JOB, REFERENCE, silent).passed
    assert judge(JOB, REFERENCE, replace(silent, steered=False)).passed


def test_a_peer_that_steers_the_prompt_alone_fails_by_its_tokens() -> None:
    late = replace(REFERENCE, tokens=(*TOKENS[:2], (2, 2), (2, 2)))
    verdict = judge(JOB, REFERENCE, late)
    assert (verdict.passed, verdict.error) == (False, 0.0)


def test_steering_without_effect_cannot_pass() -> None:
    weak = replace(REFERENCE, first_logits=(PLAIN, PLAIN))
    assert not judge(JOB, weak, weak).passed


def test_logits_of_another_vocabulary_differ_infinitely() -> None:
    assert difference((1.0, 2.0), (1.0, 2.0, 3.0)) == math.inf
    assert difference((1.0, 2.0), (1.0, 2.5)) > 0.1
