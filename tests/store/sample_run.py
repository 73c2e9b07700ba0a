"""A small run, made by hand: one scenario, three conditions, hostile text."""

from dataclasses import replace
from datetime import UTC, datetime
from math import nan
from pathlib import Path

from emoctl.scenarios import Scenario
from emoctl.store.database import RunStore
from emoctl.store.manifest import Arithmetic, Environment, Manifest, ModelFacts, write_manifest
from emoctl.store.records import (
    ConditionRecord,
    Receipt,
    RolloutRecord,
    ScoreRecord,
    VariantRecord,
)
from emoctl.store.run_folder import RunFolder, create_run

NOW = datetime(2026, 11, 21, 10, 15, tzinfo=UTC)
HOSTILE = (
    "\x1b[2J\x1b]0;owned\x07[bold red]hi[/bold red] <script>alert(1)</script>\n"
    "status       scored\r\u202egnp.exe\x9b31m"
)


def make_scenario(title: str = "A test") -> Scenario:
    return Scenario.model_validate(
        {
            "schema": "emoctl-scenario/1",
            "name": "locked-out",
            "title": title,
            "about": "made for tests",
            "primary": "threat",
            "variants": {"base": {"messages": [{"role": "user", "content": "Write."}]}},
            "outcomes": {"threat": {"definition": "it threatens"}, "other": {"definition": "not"}},
            "judge": {"kind": "mail", "rules": [{"outcome": "threat", "check": "any"}]},
        }
    )


SCENARIO = make_scenario()
VARIANT = VariantRecord("locked-out", "base", (("user", "Write."),), "", "<user>Write.", 7)
CONDITIONS = (
    ConditionRecord("c-0", "unsteered", "none", "0", 3, "all", 0.0),
    ConditionRecord("c-1", "desperate", "none", "0.05", 3, "all", 1.25),
    ConditionRecord("c-2", "desperate", "none", "-0.05", 3, "all", -1.25),
)


def make_rollout(condition_id: str = "c-1", rollout: int = 0, text: str = "hello") -> RolloutRecord:
    return RolloutRecord(
        scenario="locked-out",
        variant="base",
        condition_id=condition_id,
        rollout=rollout,
        n_prompt_tokens=7,
        token_ids=(1, 2, 3),
        text=text,
        stop="end",
        status="scored",
        outcome="threat",
        evidence="hello",
        reason="",
        receipt=Receipt(9, 1.25, 0.05),
        mean_logprob=-1.5,
    )


def make_score(item: str = "s01/threat/flat", order: str = "") -> ScoreRecord:
    return ScoreRecord("locked-out", "base", "c-1", "likelihood", item, order, 5, -7.25, 9)


def make_manifest(argv: tuple[str, ...] = ("emoctl", "sweep", "--vector", "calm")) -> Manifest:
    return Manifest(
        name="sweep",
        argv=argv,
        started=NOW,
        environment=Environment(
            emoctl="0.1.0",
            git_revision=None,
            git_dirty=None,
            python="3.11.0",
            packages={"torch": "2.13.0"},
            platform="Linux",
            cpu=None,
            cores=2,
        ),
        arithmetic=Arithmetic(
            device="cpu",
            dtype="float32",
            attention="cascade",
            engine="cascade",
            threads=1,
            reproducible="exact",
        ),
        model=ModelFacts(
            id="tiny",
            revision=None,
            source="folder",
            weight_sha256="ab",
            tokenizer_sha256="cd",
            template_sha256=None,
        ),
        vectors_sha256=None,
        corpus_sha256=None,
        scenarios={"locked-out": "sha256:00"},
        config_digest="0123456789ab",
        seed=0,
    )


def begin(store: RunStore) -> None:
    store.add_scenarios([SCENARIO])
    store.add_variants([VARIANT])
    store.add_conditions(CONDITIONS)


def finished_run(parent: Path) -> RunFolder:
    """A finished run of five rollouts, two of them hostile or unscored, and one score."""
    folder = create_run(parent, "sweep", "0123456789ab", NOW)
    write_manifest(folder, make_manifest())
    unscored = replace(
        make_rollout("c-1", 2), status="unscored", outcome=None, reason="no mail", mean_logprob=nan
    )
    with RunStore.create(folder.path) as store:
        begin(store)
        store.add_rollouts([make_rollout("c-0", 0), make_rollout("c-0", 1)])
        store.add_rollouts([make_rollout("c-1", 0), make_rollout("c-1", 1, HOSTILE), unscored])
        store.add_scores([make_score()])
    folder.tables.mkdir()
    (folder.tables / "outcomes.csv").write_text("scenario\n")
    folder.mark_done("ok\n")
    return folder
