"""`emoctl validate` from end to end, on a random model and texts of its own."""

import json
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
from typer.testing import CliRunner

from emoctl.cli.app import app
from emoctl.errors import StoriesError, UsageError
from emoctl.store.run_folder import list_runs

RUN = CliRunner()
HOSTILE = "<script>alert(1)</script>\x1b[31m"
EMOTIONS = ("calm", "desperate", HOSTILE.replace("\x1b", ""), "happy")
NEUTRAL = "Fill the kettle to the upper mark and press the lever down until it stays. " * 2


def lines(path: Path, records: list[dict[str, object]]) -> str:
    path.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def place(tiny: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    tiny.save_model(folder / "tiny")
    lines(folder / "s.jsonl", [dict(r) for r in tiny.stories(EMOTIONS)])
    neutral = [{"topic": f"kettle {k}", "text": f"Number {k}. {NEUTRAL}"} for k in range(4)]
    lines(folder / "n.jsonl", neutral)
    further = [
        {**r, "topic": f"new {k}", "text": f"Now. {r['text']}"}
        for k, r in enumerate(tiny.stories(EMOTIONS))
        if k % 3 == 0
    ]
    lines(folder / "h.jsonl", [dict(r) for r in further])
    messages = [{"emotion": e, "text": f"I saw {n} gulls {e[:2]}"} for e in EMOTIONS for n in "23"]
    lines(folder / "i.jsonl", [dict(m) for m in messages])
    template = {
        "name": "gulls", "emotion": "calm", "sign": 1, "text": "{x} gulls", "control": "{x} pins",
        "values": [1, 10, 100], "why": "more gulls",
    }  # fmt: skip
    lines(folder / "t.jsonl", [template])
    pair = {"name": "sea", "emotion": "calm", "sign": 1, "mild": "3 boats", "severe": "3 wrecks"}
    lines(folder / "p.jsonl", [pair])
    rated = "".join(f'"{e}",{k},{k * k}\n' for k, e in enumerate(EMOTIONS))
    (folder / "norms.csv").write_text("word,valence,arousal\n" + rated, encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def own_cache(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOCTL_CACHE", str(place / "cache"))


def command(world: Path, *more: str) -> list[str]:
    sets = (f"stories.emotional={world / 's.jsonl'}", f"stories.neutral={world / 'n.jsonl'}")
    return [
        "validate", "--model", str(world / "tiny"), "--out", str(world / "runs"),
        "--held-out", str(world / "h.jsonl"), "--implicit", str(world / "i.jsonl"),
        "--intensity", str(world / "t.jsonl"), "--severity", str(world / "p.jsonl"),
        *(word for each in sets for word in ("--set", each)), *more,
    ]  # fmt: skip


def test_a_validation_is_a_folder_with_tables_pictures_and_a_page(place: Path) -> None:
    shown = RUN.invoke(app, command(place, "--norms", str(place / "norms.csv")))
    assert shown.exit_code == 0, shown.exception
    (folder,) = (place / "runs").glob("validation-*")
    assert str(folder) in shown.stdout
    assert "emotion vectors" in shown.stdout
    assert "words alone" in shown.stdout
    tables = {p.stem for p in (folder / "tables").glob("*.csv")}
    assert tables >= {
        "readers", "layers", "emotions", "halves", "growth", "implicit", "intensity", "severity",
        "slopes", "cosines", "pca", "explained", "norms",
    }  # fmt: skip
    pictures = {p.stem for p in (folder / "charts").glob("*.png")}
    assert pictures >= {"readers", "layers", "pca", "clusters", "cosines", "emotions", "growth"}
    assert all(p.read_bytes()[:4] == b"\x89PNG" for p in (folder / "charts").glob("*.png"))
    said = json.loads((folder / "validation.json").read_text(encoding="utf-8"))
    assert said["schema"] == "emoctl-validation/1"
    assert said["vectors_sha256"].startswith("sha256:")
    assert str(place) not in json.dumps(said), "no path of this machine"
    assert (folder / "DONE").is_file()
    layers = pd.read_csv(folder / "tables" / "layers.csv")
    assert layers["chosen_by_folds"].sum() == 3
    assert list_runs(place / "runs") == [], "it is no run"


def test_names_of_a_corpus_do_no_harm_on_the_page(place: Path) -> None:
    RUN.invoke(app, command(place))
    folder = max((place / "runs").glob("validation-*"))
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;" in page, "control: the name is there"
    assert "default-src 'none'" in page
    assert "<script>" not in (folder / "summary.md").read_text(encoding="utf-8")
    interactive = (folder / "charts" / "pca.html").read_text(encoding="utf-8")
    assert "<script>alert" not in interactive


def test_the_same_inputs_give_the_same_vectors_and_one_document(place: Path) -> None:
    one, two = (RUN.invoke(app, command(place, "--json")) for _ in range(2))
    first, second = json.loads(one.stdout), json.loads(two.stdout)
    assert first["folder"] != second["folder"]
    hashes = [
        json.loads((Path(d["folder"]) / "validation.json").read_text())["vectors_sha256"]
        for d in (first, second)
    ]
    assert hashes[0] == hashes[1]
    assert first["readers"] == second["readers"]
    other = json.loads(
        RUN.invoke(app, command(place, "--json", "--set", "recipe.from_token=60")).stdout
    )
    assert first["readers"] != other["readers"], "control"


def test_a_dry_run_says_what_would_be_read(place: Path) -> None:
    before = set((place / "runs").glob("*")) if (place / "runs").exists() else set()
    shown = RUN.invoke(app, command(place, "--dry-run"))
    assert shown.stdout.startswith("4 emotions; to be read, each once: 12 stories, 4 neutral texts")
    assert set((place / "runs").glob("*") if (place / "runs").exists() else ()) == before


@pytest.mark.parametrize(
    ("more", "error", "said"),
    [
        (("--layer", "9"), UsageError, "--layer 9: the model has layers 0 to 2"),
        (("--set", "recipe.layers=[1]"), UsageError, "recipe.layers names some layers"),
        (("--set", "steering.file=x"), UsageError, "validation needs the stories"),
        (("--norms", "none.csv"), StoriesError, "--norms none.csv: cannot be read"),
        (("--implicit", "none.jsonl"), StoriesError, "none.jsonl: no such file"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(
    place: Path, more: tuple[str, ...], error: type[Exception], said: str
) -> None:
    shown = RUN.invoke(app, command(place, *more))
    assert isinstance(shown.exception, error)
    assert said in str(shown.exception)
