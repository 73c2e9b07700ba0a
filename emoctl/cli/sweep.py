"""`emoctl sweep`: the main job, from a config to tables, gates and an exit code."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emoctl.cli.console import next_step, note, out, print_json
from emoctl.cli.options import ConfigFile, Json, ModelName, Overrides, configured
from emoctl.cli.progress import duration, progress
from emoctl.cli.writing import show_unwritten, written_first
from emoctl.config import ExperimentConfig, find_config, strength_text
from emoctl.errors import IncompleteError, UsageError

if TYPE_CHECKING:
    from emoctl.analysis.results import Results
    from emoctl.engine.choice import EngineChoice, EngineSetup
    from emoctl.models.loading import LoadedModel
    from emoctl.store.run_folder import RunFolder
    from emoctl.sweep.estimate import Work
    from emoctl.sweep.plan import Plan
    from emoctl.sweep.tasks import Task
    from emoctl.vectors.files import EmotionVectors


def sweep(
    config: ConfigFile = "default",
    vector: Annotated[
        list[str] | None, typer.Option("--vector", help="An emotion; may be repeated.")
    ] = None,
    scale: Annotated[
        str | None, typer.Option("--scale", help="0.05, a list -0.05,0.05, or a range a:b:step.")
    ] = None,
    scenario: Annotated[
        list[str] | None, typer.Option("--scenario", help="A scenario; may be repeated.")
    ] = None,
    variant: Annotated[
        list[str] | None, typer.Option("--variant", help="A variant; may be repeated.")
    ] = None,
    readout: Annotated[
        list[str] | None,
        typer.Option("--readout", help="sample, choice or likelihood; may be repeated."),
    ] = None,
    n: Annotated[int | None, typer.Option("--n", help="Rollouts a cell.")] = None,
    controls: Annotated[
        int | None, typer.Option("--controls", help="Controls of every readout.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="All randomness.")] = None,
    model: ModelName = None,
    overrides: Overrides = None,
    out_folder: Annotated[
        Path, typer.Option("--out", help="The folder that holds run folders.")
    ] = Path("runs"),
    limit: Annotated[
        int | None,
        typer.Option("--limit", help="Stop after so many rollouts a cell: a trial run."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the newest unfinished run of this config.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done and how long; do nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Replay scenarios under every strength of every vector, judge, count, and hold gates.

    Without --config: likelihood on the full wording of replacement-affair (response steered, 99
    controls), and 10 rollouts a cell of its short wording (up to 64 new tokens, 6 controls), for
    desperate and calm at strengths -0.1 to 0.1. Missing vectors are extracted first,
    and stories that a model is to write are written before.
    Exit codes: 0 ok, 1 gate failed, 2 usage, 3 model, 4 incomplete or nothing scored, 130 stopped.

    Example: emoctl sweep --vector desperate --scale 0.05
    """
    experiment = configured(
        config,
        vectors=vector or (),
        scale=scale,
        scenarios=scenario or (),
        variants=variant or (),
        readouts=readout or (),
        n=n,
        controls=controls,
        seed=seed,
        model=model,
        overrides=overrides or (),
    )
    if limit is not None and limit < 1:
        raise UsageError(f"--limit {limit}: needs a number of at least 1")
    if limit is not None and resume:
        raise UsageError("--limit goes with a new run, not with --resume")
    check_names(experiment)
    if dry_run and show_unwritten(experiment, json=json):
        return
    job = _Job(experiment, find_config(config).read_text(encoding="utf-8"), out_folder)
    if dry_run:
        job.show_plan(json=json)
        return
    folder = job.open(resume=resume)
    with folder.owned():
        job.run(folder, limit=limit)
        finish(folder, json=json)


def check_names(config: ExperimentConfig) -> None:
    """Refuse unknown scenarios, variants and readouts before anything long begins.

    Raises:
        ConfigError: a variant is unknown.
        ScenarioError: a scenario is unknown, malformed, or lacks the readout.
        UnknownEmotionError: the config steers with an emotion that no story is written about.
    """
    from emoctl.scenarios import pick_scenario
    from emoctl.sweep.commission import check_emotions
    from emoctl.sweep.wanted import variants_of, wanted_readouts

    for name in config.scenarios:
        found = pick_scenario(name)
        for readout, section in wanted_readouts(config):
            variants_of(found, readout, section)
    if config.stories.source == "model":
        check_emotions(config)


class _Job:
    """One sweep, from a checked config to a folder full of rows."""

    def __init__(self, config: ExperimentConfig, text: str, parent: Path) -> None:
        from emoctl.cli.extraction import vectors_for
        from emoctl.models.loading import load_model
        from emoctl.sweep.executor import n_workers
        from emoctl.sweep.plan import make_plan

        self.config, self.text, self.parent = config, text, parent
        corpus = written_first(config)
        self.model: LoadedModel = load_model(config.model)
        self.vectors: EmotionVectors = vectors_for(config, self.model, corpus=corpus).vectors
        self.plan: Plan = make_plan(config, self.model, self.vectors)
        self.n_workers = n_workers(config.engine.workers, self.model.device)
        self.engine = self._choose_engine()

    def _choose_engine(self) -> "EngineChoice":
        """The engine that serves the model; a fallback is said aloud."""
        from emoctl.engine.choice import choose_engine
        from emoctl.sweep.executor import one_thread

        with one_thread():
            choice = choose_engine(self.model, self.config.engine.kind)
        if choice.fell_back:
            note(f"the slow reference engine is used: {choice.why}")
        return choice

    @property
    def engine_setup(self) -> "EngineSetup":
        """What every worker makes its engine from."""
        from emoctl.engine.choice import EngineSetup

        return EngineSetup(self.engine.name, self.config.engine.rows, self.n_workers)

    def show_plan(self, *, json: bool) -> None:
        """Print what a new run would do."""
        from emoctl.sweep.plan import tasks

        work = self._work(tasks(self.plan, set(), set(), None, self.n_workers))
        conditions = {r: len(ids) for r, ids in self.plan.conditions_of.items()}
        primary = self.config.primary_strength
        if json:
            print_json(
                {
                    **asdict(work),
                    "conditions": conditions,
                    "workers": self.n_workers,
                    "engine": self.engine.name,
                    "engine_why": self.engine.why,
                    "primary_strength": None if primary is None else strength_text(primary),
                    "digest": self.config.digest(),
                }
            )
        else:
            for line in self._plan_lines(work, conditions):
                out().print(line)
        next_step("the same command without --dry-run")

    def _plan_lines(self, work: "Work", conditions: dict[Any, int]) -> list[str]:
        prompts = [
            f"prompt: {scenario}/{variant}, {len(prompt.token_ids)} tokens (sample)"
            for (scenario, variant), prompt in self.plan.prompts.items()
        ]
        questions = [
            f"prompt: {q.scenario}/{q.variant}, {len(q.prefix)} tokens shared, "
            f"{sum(map(len, q.names))} items, {q.n_packed_tokens} tokens ({q.readout})"
            for q in self.plan.questions
        ]
        return [
            f"model: {self.model.identity.id}, {self.n_workers} worker(s) of one thread",
            f"engine: {self.engine.name}, since {self.engine.why}",
            *(f"conditions: {count} ({readout})" for readout, count in conditions.items()),
            *prompts,
            *questions,
            f"rows: {work.n_rollouts} rollouts, {work.n_scores} exact scores",
            f"tokens: {work.prefill_tokens} in long passes, "
            f"{work.decode_steps} decode steps of {self.config.engine.rows} rows",
            f"estimate: {duration(work.seconds)}, from a short probe",
        ]

    def _work(self, left: "list[Task]") -> "Work":
        from emoctl.sweep.estimate import estimate

        return estimate(self.model, self.plan, left, self.engine_setup)

    def open(self, *, resume: bool) -> "RunFolder":
        """The run folder to work in: a new one, or the one to resume."""
        from emoctl.sweep.run import open_run

        folder = open_run(self.parent, self.config, resume=resume)
        note(f"run: {folder.path}")
        return folder

    def run(self, folder: "RunFolder", *, limit: int | None) -> None:
        """Do what is left.

        Raises:
            IncompleteError: a limit ended it before everything was done.
        """
        from emoctl.engine.exactness import probe_exactness
        from emoctl.sweep.executor import make_executor, one_thread
        from emoctl.sweep.plan import tasks
        from emoctl.sweep.run import RunStart, begin, end, execute

        with one_thread():
            exactness = probe_exactness(self.model, self.config.engine.rows, self.engine.name)
        if not exactness.exact:
            note("a row's last bits depend on its batch here: reproducible to rounding only")
        work = self._work(tasks(self.plan, set(), set(), limit, self.n_workers))
        note(f"estimate: {duration(work.seconds)} for the whole plan")
        executor = make_executor(
            self.model, self.config.model, self.engine_setup, self.plan.steerings, self.plan.probe
        )
        start = RunStart(self.text, tuple(sys.argv), self.n_workers, self.engine, exactness)
        begin(self.plan, self.model, self.vectors, folder, start)
        try:
            with progress("rows stored") as show:
                complete = execute(
                    self.plan, self.model, folder, executor, limit=limit, on_row=show
                )
        except KeyboardInterrupt:
            folder.log("interrupted")
            note(f"stopped; what is done is kept in {folder.path}")
            next_step("the same command with --resume")
            raise
        end(folder)
        if not complete:
            raise IncompleteError(
                f"--limit {limit} left run {folder.name} unfinished",
                hint="go on with the same command, --resume instead of --limit",
            )


def finish(folder: "RunFolder", *, json: bool) -> None:
    """Tables, charts, summary, gates; the exit code follows from them.

    Raises:
        typer.Exit: with 1 or 4, where a gate failed or nothing could be scored.
    """
    from emoctl.report.finish import run_results, write_reports
    from emoctl.store.database import settle

    results = run_results(folder)
    write_reports(folder, results)
    code = exit_code(results)
    folder.log(f"tables, charts and summary written; exit {code}")
    settle(folder.path)
    folder.mark_done(f"exit {code}\n")
    if json:
        from emoctl.analysis.results import plain

        print_json({"run": folder.name, "folder": str(folder.path), "exit": code, **plain(results)})
    else:
        from emoctl.report.terminal import results_view

        console = out()
        console.print(results_view(results, width=console.width))
        console.print(f"run folder: {folder.path}")
    next_step(f"emoctl runs show {folder.path}")
    if code:
        raise typer.Exit(code)


def exit_code(results: "Results") -> int:
    """0, or what the gates say, or 4 where a readout of a scenario has nothing that is scored."""
    from emoctl.analysis.gates import gates_exit_code

    code = gates_exit_code(results.gates)
    return code or (0 if everything_measured(results) else IncompleteError.exit_code)


def everything_measured(results: "Results") -> bool:
    """Whether each readout of each scenario has a scored rollout or an exact value to show."""
    real = results.outcomes[results.outcomes["control"] == "none"]
    known = (real["n_scored"].fillna(0) > 0) | real["value"].notna()
    measured = known.groupby([real["scenario"], real["readout"]]).any()
    return bool(len(measured)) and bool(measured.all())
