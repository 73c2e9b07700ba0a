"""A validation → its folder: tables, pictures, one page, one summary."""

from base64 import b64encode
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path

import pandas as pd

from emoctl.analysis.tables import write_tables
from emoctl.analysis.validation.frames import Validation
from emoctl.report.drawing import page_of, png_of
from emoctl.report.inert import inert_terminal
from emoctl.report.validation_charts import charts_of
from emoctl.report.validation_text import (
    SCOPE,
    SmallTable,
    readers_shown,
    sentences,
    summary_md,
)
from emoctl.store.run_folder import RunFolder

INTERACTIVE = ("pca",)
HEADINGS = {
    "readers": "Readers",
    "layers": "Layers",
    "pca": "Principal components",
    "clusters": "Clusters",
    "cosines": "Cosines",
    "emotions": "Emotions",
    "growth": "Topics that vectors are made from",
    "implicit": "Implicit messages",
    "intensity": "Intensity",
}
CAPTIONS = {
    "readers": "Each row names the emotion of stories on topics that it has not learnt from. Words "
    "alone: a bag of words. Whitened: one better linear reader. Shuffled labels and random "
    "directions must be at chance.",
    "layers": "Every measure by layer. A fold's layer is chosen from its training topics alone.",
    "pca": "Emotions that lie near each other have similar directions. The sign of a component is "
    "chosen so that pleasant emotions lie higher.",
    "clusters": "The same components, one published cluster a panel, each with scales of its own.",
    "cosines": "Red: similar directions. Neighbors on the axes are similar.",
    "emotions": "A vector that halves of the stories do not agree on says little alone.",
    "growth": "The last point uses all topics, and is one draw.",
    "implicit": "A red diagonal: the vector of what the writer feels lies nearest.",
    "intensity": "To the right of 0: the reading changes as the message says it should.",
}
SHOWN_TABLES = {
    "emotions": "Emotion by emotion",
    "lens": "Logit lens",
    "layers": "Layer by layer",
    "implicit": "Implicit messages, by emotion",
    "intensity": "Intensity templates",
    "severity": "Severity pairs",
    "norms": "Norms",
}


def write_validation(folder: RunFolder, found: Validation, about: Mapping[str, str]) -> list[Path]:
    """Write `tables/`, `charts/`, `report.html` and `summary.md`; returns the charts' paths.

    Raises:
        StoreError: the folder cannot be written to.
    """
    write_tables(folder.tables, found.frames)
    charts = folder.path / "charts"
    pictures: dict[str, bytes] = {}
    for name, chart in charts_of(found):
        pictures[name] = png_of(chart, scale=1.5)
        folder.write_bytes_atomic(charts / f"{name}.png", pictures[name])
        if name in INTERACTIVE:
            folder.write_text_atomic(charts / f"{name}.html", page_of(chart))
    folder.write_text_atomic(folder.report, _page(found, dict(about), pictures))
    folder.write_text_atomic(folder.summary, summary_md(found, dict(about)))
    return [charts / f"{name}.png" for name in pictures]


def _page(found: Validation, about: dict[str, str], pictures: Mapping[str, bytes]) -> str:
    from jinja2 import Environment, StrictUndefined

    template = resources.files("emoctl.report").joinpath("validation.html.jinja")
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    return environment.from_string(template.read_text(encoding="utf-8")).render(
        title="Validation of emotion vectors",
        about=[(key, inert_terminal(value)) for key, value in about.items()],
        scope=SCOPE,
        readers=readers_shown(found),
        lines=[inert_terminal(line) for line in sentences(found)],
        charts=[
            {
                "name": name,
                "heading": HEADINGS[name],
                "caption": CAPTIONS[name],
                "interactive": name in INTERACTIVE,
                "data": b64encode(data).decode(),
            }
            for name, data in pictures.items()
        ],
        tables=list(_tables(found.frames)),
    )


def _tables(frames: Mapping[str, pd.DataFrame]) -> Iterator[SmallTable]:
    for name, title in SHOWN_TABLES.items():
        if name in frames:
            frame = frames[name]
            rows = tuple(
                tuple(_cell(value) for value in row)
                for row in frame.itertuples(index=False, name=None)
            )
            yield SmallTable(title, tuple(map(str, frame.columns)), rows)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.3f}"
    return inert_terminal(str(value))
