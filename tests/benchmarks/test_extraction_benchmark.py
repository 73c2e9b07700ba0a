"""The arithmetic of the extraction benchmark, on planted figures."""

import importlib
from dataclasses import replace

import pytest

extraction = importlib.import_module("benchmarks.extraction")
figures = importlib.import_module("benchmarks.extraction_figures")
OURS = figures.Measured(
    way="emoctl",
    layers="all",
    threads=2,
    n_tokens=1000,
    wall_seconds=2.0,
    cpu_seconds=4.0,
    gemm_wall=150.0,
    gemm_cpu=75.0,
    gflop=240.0,
    peak_rss_gb=1.0,
    load_average=0.0,
    norms=(10.0, 20.0),
)
PEER = replace(OURS, way="transformers", wall_seconds=5.0, cpu_seconds=6.0)


def test_every_way_comes_first_once() -> None:
    orders = [extraction.plan_order(2, repeat) for repeat in range(5)]
    assert len({order[0] for order in orders}) == 5
    assert len({frozenset(order) for order in orders}) == 1
    assert ("emoctl", 1) not in orders[0], "ours shares the cores out by itself"
    assert len(extraction.plan_order(1, 0)) == 3


def test_rates_ratios_and_shares() -> None:
    slow = replace(OURS, wall_seconds=100.0)
    ours, peer = figures.summarise([PEER, OURS, slow, OURS])
    assert (ours["way"], ours["tokens_per_second"], ours["emoctl_is_faster"]) == ("emoctl", 500, 1)
    assert ours["share_of_gemm"] == pytest.approx(240 / 2 / 150)
    assert ours["share_of_gemm_cpu"] == pytest.approx(240 / 4 / 75)
    assert ours["seconds_for_290k_tokens"] == 580
    assert peer["emoctl_is_faster"] == pytest.approx(2.5)
    assert peer["emoctl_is_faster_cpu"] == pytest.approx(1.5)
    assert len(figures.table([ours, peer]).splitlines()) == 3


def test_ways_that_disagree_have_no_figures() -> None:
    figures.check_agreement([OURS, replace(PEER, norms=(10.0005, 20.0))])
    with pytest.raises(ValueError, match=r"transformers has norm 20\.1"):
        figures.check_agreement([OURS, replace(PEER, norms=(10.0, 20.1))])
