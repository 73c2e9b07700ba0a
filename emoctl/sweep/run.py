"""A plan → a run folder full of rows: the one place where engine, judges and store meet.

    tasks that are not stored yet ─▶ executor ─▶ transcript ─▶ judge ─▶ store, a transaction a row

Stop it at any instant and start it again: what was stored is not done twice, and what is done
later equals what an unbroken run would have stored.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from emoctl.config import ExperimentConfig, render_yaml
from emoctl.engine.choice import EngineChoice
from emoctl.engine.exactness import Exactness
from emoctl.engine.linear import can_pack
from emoctl.engine.steering import SteeringCount
from emoctl.errors import StoreError
from emoctl.judges import Judge, judge_safely, make_judge
from emoctl.models.loading import LoadedModel
from emoctl.scenarios import Message, Transcript, scenario_digest
from emoctl.store.database import RunStore
from emoctl.store.environment import collect_environment
from emoctl.store.manifest import (
    Arithmetic,
    Manifest,
    ModelFacts,
    portable_argv,
    read_manifest,
    write_manifest,
)
from emoctl.store.records import (
    ReadingsRecord,
    Receipt,
    RolloutRecord,
    ScoreRecord,
    VariantRecord,
)
from emoctl.store.run_folder import RunFolder, create_run, find_unfinished
from emoctl.sweep.executor import Executor
from emoctl.sweep.plan import Plan, tasks
from emoctl.sweep.probe import probe_record, readings_record
from emoctl.sweep.tasks import RolloutDone, ScoresDone
from emoctl.sweep.vectors_file import save_directions
from emoctl.vectors.files import EmotionVectors

SAME_IN_A_RUN = ("engine", "packed_weights", "device", "dtype", "attention", "threads")
"""Fields of Arithmetic with one value in a run: rows of two could differ in their last bits."""

Progress = Callable[[int, int], None]
"""Told how many rows are stored, and how many there will be."""


@dataclass(frozen=True)
class RunStart:
    """What the command line knows of a run, for its manifest."""

    config_text: str
    """The experiment file as given."""

    argv: tuple[str, ...]
    n_workers: int
    engine: EngineChoice
    exactness: Exactness


def open_run(out: Path, config: ExperimentConfig, *, resume: bool) -> RunFolder:
    """The newest unfinished run of this config where `resume` is wanted, else a new one.

    Raises:
        StoreError: the folder cannot be written.
    """
    found = find_unfinished(out, config.digest()) if resume else None
    return found or create_run(out, config.name, config.digest(), datetime.now(UTC))


def begin(
    plan: Plan, model: LoadedModel, vectors: EmotionVectors, folder: RunFolder, start: RunStart
) -> None:
    """Write what a run folder holds before its first row. A resumed run keeps its manifest and its
    rows; its config, which has the same digest, may bring another name and other gates.

    Raises:
        StoreError: the disk is full, or the run was begun with other vectors, prompts or scenarios,
            or in another arithmetic.
    """
    arithmetic = _arithmetic(model, start)
    _refuse_other_arithmetic(arithmetic, folder)
    _refuse_other_conditions(plan, folder)
    folder.write_text_atomic(folder.config, start.config_text)
    folder.write_text_atomic(folder.resolved_config, render_yaml(plan.config))
    digest = save_directions(plan.conditions, vectors.provenance, folder.vectors, plan.probe)
    if not folder.manifest.exists():
        write_manifest(folder, _manifest(plan, model, vectors, digest, start, arithmetic))
    with RunStore.open(folder.path, write=True) as store:
        store.add_scenarios(list(plan.scenarios.values()))
        store.add_conditions([c.record for c in plan.conditions.values()])
        store.add_variants(_variants(plan, model))
        if plan.probe:
            store.add_probe(probe_record(plan.probe, vectors, plan.config))
    folder.log(f"begin: {' '.join(portable_argv(start.argv, Path.cwd()))}")


def _refuse_other_arithmetic(now: Arithmetic, folder: RunFolder) -> None:
    """Leave a run alone whose manifest would be wrong about the rows that we would add."""
    if not folder.manifest.exists():
        return
    then = read_manifest(folder).arithmetic
    promised = ("reproducible",) if then.reproducible == "exact" else ()
    differences = [
        f"{name} was {_told(before)} then, is {_told(after)} now"
        for name in (*SAME_IN_A_RUN, *promised)
        if (before := getattr(then, name)) != (after := getattr(now, name))
    ]
    if differences:
        raise StoreError(
            f"run {folder.name} was begun in another arithmetic: {'; '.join(differences)}",
            hint="resume it with the machine and the versions that began it, or start a new run, "
            "without --resume",
        )


def _told(value: object) -> str:
    return "not recorded" if value is None else str(value).lower()


def _refuse_other_conditions(plan: Plan, folder: RunFolder) -> None:
    """Leave a run alone that was begun with other vectors: its rows would mix with ours."""
    with RunStore.open(folder.path, write=True) as store:
        known = {c.id for c in store.conditions()}
    if known and known != set(plan.conditions):
        raise StoreError(
            f"run {folder.name} was begun with other conditions than these",
            hint="the vectors or the code that draws controls changed: start a new run, "
            "without --resume",
        )


def execute(
    plan: Plan,
    model: LoadedModel,
    folder: RunFolder,
    executor: Executor,
    *,
    limit: int | None = None,
    on_row: Progress = lambda _done, _total: None,
) -> bool:
    """Do what is not stored yet, storing each row as soon as it is there.

    Returns whether everything that the plan asks for is stored now; with a `limit` it may not be.

    Raises:
        SteeringError: something was not steered as its condition says.
        StoreError: the disk is full; what was stored stays.
    """
    judges = {
        name: make_judge(scenario)
        for name, scenario in plan.scenarios.items()
        if any(key[0] == name for key in plan.prompts)
    }
    with RunStore.open(folder.path, write=True) as store:
        left = tasks(plan, store.done_rollouts(), store.done_scores(), limit, executor.workers)
        stored = store.n_rollouts() + store.n_scores()
        total = plan.n_rollouts + plan.n_scores
        on_row(stored, total)
        folder.log(f"{stored} of {total} rows stored, {len(left)} tasks left")
        for done in executor.run(left) if left else ():
            if isinstance(done, ScoresDone):
                records = _scores(done)
                store.add_scores(records)
                stored += len(records)
            elif isinstance(done, RolloutDone):
                record = _rollout(plan, model, judges, done)
                store.add_rollouts([record], _readings(plan, model, done, record.id))
                stored += 1
            on_row(stored, total)
        return stored >= total


def end(folder: RunFolder) -> None:
    """Write the end and the counts into the manifest; DONE is left to who writes the tables."""
    with RunStore.open(folder.path, write=False) as store:
        counts = store.outcome_counts()
    write_manifest(folder, read_manifest(folder).finished(datetime.now(UTC), counts))
    folder.log("every row is stored")


def _rollout(
    plan: Plan, model: LoadedModel, judges: Mapping[str, Judge], done: RolloutDone
) -> RolloutRecord:
    """One finished row, judged."""
    task, completion = done.task, done.completion
    condition_id, noise = task.rows[completion.index]
    variant = plan.scenarios[task.scenario].variants[task.variant]
    text = variant.lead + model.tokenizer.decode(
        list(completion.token_ids), skip_special_tokens=True
    )
    said = Message.model_construct(role="assistant", content=text)
    transcript = Transcript(
        (*variant.messages, said), "length" if completion.stop == "length" else "end"
    )
    judgement = judge_safely(judges[task.scenario], transcript)
    return RolloutRecord(
        scenario=task.scenario,
        variant=task.variant,
        condition_id=condition_id,
        rollout=noise.rollout,
        n_prompt_tokens=len(task.prompt),
        token_ids=completion.token_ids,
        text=text,
        stop=completion.stop,
        status=judgement.status,
        outcome=judgement.outcome,
        evidence=judgement.evidence,
        reason=judgement.reason,
        receipt=_receipt(plan, condition_id, completion.count),
        mean_logprob=completion.mean_logprob,
    )


def _readings(
    plan: Plan, model: LoadedModel, done: RolloutDone, rollout_id: str
) -> list[ReadingsRecord]:
    """What was read of a row; none where the plan reads nothing."""
    task, completion = done.task, done.completion
    if plan.probe is None:
        return []
    assert completion.readings is not None, "the engine was given a probe and read nothing"
    fed = (*task.prompt, *completion.token_ids[:-1])
    record = readings_record(
        rollout_id, completion.readings, fed, task.response_start, model.tokenizer
    )
    return [record]


def _receipt(plan: Plan, condition_id: str, count: SteeringCount) -> Receipt:
    record = plan.conditions[condition_id].record
    strength = float(record.strength)
    mean_norm = abs(record.coefficient / strength) if strength else 0.0
    ratio = count.mean_added_norm / mean_norm if mean_norm else 0.0
    return Receipt(count.n_steered, count.mean_added_norm, ratio)


def _scores(done: ScoresDone) -> list[ScoreRecord]:
    question = done.task.question
    return [
        ScoreRecord(
            scenario=question.scenario,
            variant=question.variant,
            condition_id=condition_id,
            readout=question.readout,
            item=item,
            order=order,
            n_tokens=score.n_tokens,
            logprob=score.logprob,
            n_steered=score.n_steered,
        )
        for condition_id, by_tree in zip(done.task.condition_ids, done.scores, strict=True)
        for names, scores in zip(question.names, by_tree, strict=True)
        for (item, order), score in zip(names, scores, strict=True)
    ]


def _variants(plan: Plan, model: LoadedModel) -> list[VariantRecord]:
    """Every prompt of the plan; one that is only scored is kept as it would be sampled."""
    from emoctl.models.prompts import render

    asked = [*plan.prompts, *((q.scenario, q.variant) for q in plan.questions)]
    records = []
    for scenario, name in dict.fromkeys(asked):
        variant = plan.scenarios[scenario].variants[name]
        prompt = plan.prompts.get((scenario, name)) or render(
            model.tokenizer, variant.messages, variant.lead
        )
        messages = tuple((m.role, m.content) for m in variant.messages)
        records.append(
            VariantRecord(
                scenario, name, messages, variant.lead, prompt.text, len(prompt.token_ids)
            )
        )
    return records


def _arithmetic(model: LoadedModel, start: RunStart) -> Arithmetic:
    return Arithmetic(
        device=model.device.type,
        dtype=str(model.dtype).removeprefix("torch."),
        attention=str(model.module.config._attn_implementation),
        engine=start.engine.name,
        engine_why=start.engine.why,
        packed_weights=start.engine.name == "cascade" and can_pack(model.module),
        threads=1,
        workers=start.n_workers,
        reproducible="exact" if start.exactness.exact else "rounding",
        probe={
            "row_counts": list(start.exactness.row_counts),
            "single_row_differs": start.exactness.single_row_differs,
        },
    )


def _manifest(
    plan: Plan,
    model: LoadedModel,
    vectors: EmotionVectors,
    vectors_digest: str,
    start: RunStart,
    arithmetic: Arithmetic,
) -> Manifest:
    return Manifest(
        name=plan.config.name,
        argv=portable_argv(start.argv, Path.cwd()),
        started=datetime.now(UTC),
        environment=collect_environment(),
        arithmetic=arithmetic,
        model=ModelFacts(**asdict(model.identity)),
        vectors_sha256=vectors_digest,
        vectors=vectors.provenance.model_dump(mode="json"),
        corpus_sha256=vectors.provenance.corpus_sha256,
        scenarios={name: scenario_digest(s) for name, s in plan.scenarios.items()},
        config_digest=plan.config.digest(),
        seed=plan.config.seed,
    )
