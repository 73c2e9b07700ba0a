"""Stories for a config, written by a model where it says so; what `stories write`, `extract` and
`sweep` share. Nothing heavy is imported before it is needed."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from emoctl.cli.console import next_step, note, print_json, print_line
from emoctl.cli.progress import progress
from emoctl.config import ExperimentConfig
from emoctl.stories import Corpus, load_corpus, only_emotions

if TYPE_CHECKING:
    from emoctl.engine.choice import EngineSetup
    from emoctl.models.fingerprint import ModelIdentity
    from emoctl.models.loading import LoadedModel
    from emoctl.stories.choosing import Cell, Choice
    from emoctl.sweep.commission import Commission
    from emoctl.sweep.writing_estimate import WritingWork

MOST_FAILURES = 8
"""Failed stories that are told of one by one where stories are not what was asked for."""


def corpus_for(config: ExperimentConfig, model: "LoadedModel | None" = None) -> Corpus:
    """The corpus that `config` asks for; what its model has not written yet is written first.

    Raises:
        StoriesError: the corpus is malformed, or too few stories passed.
    """
    found = find_corpus(config)
    if found is not None:
        return found
    job = WritingJob(config, model)
    choice = job.so_far()
    if choice.wanted:
        note(f"stories are missing: {job.model.identity.id} writes them first")
        note(f"estimate: {estimate_line(job.estimate(choice))}")
        choice = job.write()
        path = story_path(choice)
        job.publish(choice, path)
        for line in summary_lines(choice, job.commission.cells, path, most=MOST_FAILURES):
            note(line)
    return written_corpus(config, job.commission, job.model.identity, choice)


def written_first(config: ExperimentConfig) -> Corpus | None:
    """The corpus, where another model than the experiment's writes it: called before that one is
    loaded, it keeps two models from being in memory together."""
    writing = config.stories.writing
    return corpus_for(config) if writing and writing.writer else None


def find_corpus(config: ExperimentConfig) -> Corpus | None:
    """The corpus, without a model; None where stories may be missing, or that cannot be told.

    Raises:
        StoriesError: the corpus is malformed, or too few stories passed.
    """
    if config.stories.source == "file":
        whole = load_corpus(config.stories.emotional, config.stories.neutral)
        wanted = config.stories.emotions
        return whole if wanted == "all" else only_emotions(whole, wanted)
    from emoctl.sweep.commission import chosen_so_far, commission_of, known_identity

    commission = commission_of(config)
    identity = known_identity(commission.writer)
    if identity is None:
        return None
    choice = chosen_so_far(commission, identity)
    return None if choice.wanted else written_corpus(config, commission, identity, choice)


def written_corpus(
    config: ExperimentConfig,
    commission: "Commission",
    identity: "ModelIdentity",
    choice: "Choice",
) -> Corpus:
    """The stories that were kept, and the config's neutral texts.

    Raises:
        StoriesError: an emotion has too few stories.
    """
    from emoctl.stories.authorship import Authorship
    from emoctl.stories.choosing import check_enough
    from emoctl.sweep.commission import writer_of

    check_enough(choice, commission.cells)
    neutral = load_corpus(neutral=config.stories.neutral).neutral
    written_by = Authorship("model", writer_of(commission, identity, choice))
    return Corpus(choice.stories, neutral, written_by)


def story_path(choice: "Choice") -> Path:
    """Where stories stand that nobody named a file for: the cache, by their content."""
    from emoctl.models.cache import cache_root

    digest = Corpus(choice.stories, ()).digest.removeprefix("sha256:")
    return cache_root() / "stories" / f"{digest[:16]}.jsonl"


class WritingJob:
    """A commission and the model that carries it out."""

    def __init__(self, config: ExperimentConfig, model: "LoadedModel | None" = None) -> None:
        from emoctl.models.loading import load_model
        from emoctl.sweep.commission import commission_of

        self.config = config
        self.commission: Commission = commission_of(config)
        own = model is not None and self.commission.writer == config.model
        self.model: LoadedModel = (
            model if own and model is not None else load_model(self.commission.writer)
        )
        self._setup: EngineSetup | None = None

    @property
    def setup(self) -> "EngineSetup":
        """What every worker makes its engine from; a fallback is said aloud."""
        if self._setup is None:
            from emoctl.engine.choice import EngineSetup, choose_engine
            from emoctl.sweep.executor import n_workers, one_thread

            with one_thread():
                choice = choose_engine(self.model, self.config.engine.kind)
            if choice.fell_back:
                note(f"the slow reference engine is used: {choice.why}")
            workers = n_workers(self.config.engine.workers, self.model.device)
            self._setup = EngineSetup(choice.name, self.config.engine.rows, workers)
        return self._setup

    def so_far(self) -> "Choice":
        """What is written already."""
        from emoctl.sweep.commission import chosen_so_far

        return chosen_so_far(self.commission, self.model.identity)

    def estimate(self, choice: "Choice") -> "WritingWork":
        """What is left, and how long it takes."""
        from emoctl.sweep.writing_estimate import estimate_writing

        return estimate_writing(self.commission, self.model, choice, self.setup)

    def write(self) -> "Choice":
        """Write what is missing; Ctrl-C keeps what is there."""
        from emoctl.sweep.executor import make_executor
        from emoctl.sweep.story_writing import write_stories

        executor = make_executor(self.model, self.commission.writer, self.setup, {})
        try:
            with progress("texts written") as show:
                return write_stories(
                    self.commission, self.model, self.setup, executor, show, _say_waiting
                )
        except KeyboardInterrupt:
            note("stopped; every text that is finished is kept")
            next_step("run it again to go on")
            raise

    def publish(self, choice: "Choice", path: Path) -> None:
        """Write the corpus file and its record."""
        from emoctl.stories.publishing import publish
        from emoctl.sweep.commission import writer_of

        writer = writer_of(self.commission, self.model.identity, choice)
        publish(path, choice, writer, self.commission.cells)


def _say_waiting() -> None:
    note("another process is writing with this model; waiting for it")


def estimate_line(work: "WritingWork") -> str:
    """How long what is left takes, and of what that is an estimate."""
    from emoctl.cli.progress import duration

    return (
        f"{duration(work.seconds)} for {work.n_texts} texts, {work.new_tokens} new tokens at most, "
        "from a short probe; what fails the lint is written again"
    )


def summary_lines(
    choice: "Choice", cells: "Sequence[Cell]", path: Path, most: int | None = None
) -> Iterator[str]:
    """What was asked, kept and failed, by emotion, and why each failure failed."""
    from emoctl.stories.authorship import record_path
    from emoctl.stories.publishing import counts_of

    failed = list(choice.failed.items())
    for cell, reasons in failed[:most]:
        yield f"failed: {cell.emotion} / {cell.topic} / {cell.index}: {'; '.join(reasons)}"
    if most is not None and len(failed) > most:
        yield f"failed: {len(failed) - most} more"
    counts = counts_of(choice, cells)
    width = max(len(count.emotion) for count in counts)
    for c in counts:
        yield f"{c.emotion:<{width}}  {c.n_asked} asked, {c.n_kept} kept, {c.n_failed} failed"
    yield f"stories: {path}"
    yield f"who wrote them, and what failed: {record_path(path)}"


def show_unwritten(config: ExperimentConfig, *, json: bool) -> bool:
    """Print what would be written first, where stories are missing; whether they are."""
    if find_corpus(config) is not None:
        return False
    job = WritingJob(config)
    if not job.so_far().wanted:
        return False
    note("stories are missing: this is the plan of writing them; the rest follows from them")
    show_writing_plan(job, json=json)
    return True


def show_writing_plan(job: WritingJob, *, json: bool) -> None:
    """Print what a writer would do."""
    work = job.estimate(job.so_far())
    if json:
        print_json({**asdict(work), "workers": job.setup.workers, "engine": job.setup.name})
    else:
        c = job.commission
        print_line(f"writer: {job.model.identity.id}, {job.setup.workers} worker(s) of one thread")
        print_line(
            f"stories: {work.n_stories} asked ({len(c.emotions)} emotions × "
            f"{len(c.topics)} topics × {c.per_cell}), {work.n_kept} kept already"
        )
        print_line(f"tokens: {work.prompt_tokens} of prompts, {work.new_tokens} written at most")
        print_line(f"estimate: {estimate_line(work)}")
    next_step("the same command without --dry-run")
