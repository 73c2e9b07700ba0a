"""What a model is asked to write, with every default looked up; needs no model and no torch.

The answers file that belongs to it is named by a hash over all that decides a story's text: the
writer's weights, tokenizer and template, the wording, the sampling, the seed. Which emotions and
topics are asked for, and how often, decides no text: a corpus that grows keeps its answers.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from emoctl.config import ExperimentConfig, ModelConfig, WritingConfig
from emoctl.config.schema import SamplingConfig
from emoctl.errors import UnknownEmotionError, did_you_mean
from emoctl.models.cache import cache_root
from emoctl.models.catalog import resolve
from emoctl.models.fingerprint import ModelIdentity
from emoctl.models.remembered import remembered_identity, renamed
from emoctl.stories import load_corpus
from emoctl.stories.authorship import Writer
from emoctl.stories.choosing import Answers, Cell, Choice, choose
from emoctl.stories.wording import wording_digest
from emoctl.sweep.story_file import read_answers

FORMAT = "emoctl-answers/1"


@dataclass(frozen=True)
class Commission:
    """Which stories, by whom, and how."""

    writer: ModelConfig
    emotions: tuple[str, ...]
    topics: tuple[str, ...]
    per_cell: int
    attempts: int
    sampling: SamplingConfig
    seed: int

    @property
    def cells(self) -> list[Cell]:
        """Every story that is asked for, an emotion after another."""
        return [
            Cell(emotion, topic, index)
            for emotion in self.emotions
            for topic in self.topics
            for index in range(self.per_cell)
        ]

    def choose(self, answers: Answers) -> Choice:
        """What these answers come to."""
        return choose(self.cells, self.attempts, answers)


def commission_of(config: ExperimentConfig) -> Commission:
    """What `config` has a model write.

    Raises:
        ValueError: its stories are read from a file.
    """
    writing = _writing(config)
    builtin = load_corpus()
    return Commission(
        writer=writer_config(config),
        emotions=_listed(writing.emotions, builtin.emotions),
        topics=_listed(writing.topics, builtin.topics),
        per_cell=writing.per_cell,
        attempts=writing.attempts,
        sampling=SamplingConfig(
            max_new_tokens=writing.max_new_tokens,
            temperature=writing.temperature,
            top_p=writing.top_p,
        ),
        seed=writing.seed,
    )


def check_emotions(config: ExperimentConfig) -> None:
    """Refuse to steer with, or read, an emotion that no story will be written about.

    Raises:
        UnknownEmotionError: it names the emotion.
    """
    written = commission_of(config).emotions
    read = config.readings.emotions if config.readings else ()
    wanted = {
        "steering.vectors": config.steering.vectors,
        "readings.emotions": () if isinstance(read, str) else read,
    }
    for key, emotions in wanted.items():
        for emotion in emotions:
            if emotion not in written:
                listing = f"stories.writing.emotions has {', '.join(written[:8])}"
                raise UnknownEmotionError(
                    f"{key}: no story is written about {emotion!r}",
                    hint=did_you_mean(emotion, list(written), listing=listing),
                )


def writer_config(config: ExperimentConfig) -> ModelConfig:
    """The model that writes: the experiment's own, or the one that is named for it.

    Raises:
        ValueError: the stories are read from a file.
    """
    writing = _writing(config)
    if writing.writer is None:
        return config.model
    named = {"id": writing.writer, "revision": writing.revision}
    return config.model.model_copy(update=named)


def _writing(config: ExperimentConfig) -> WritingConfig:
    if config.stories.writing is None:
        raise ValueError("the config has no model write its stories")
    return config.stories.writing


def _listed(wanted: str | Sequence[str], known: tuple[str, ...]) -> tuple[str, ...]:
    return known if isinstance(wanted, str) else tuple(wanted)


def known_identity(config: ModelConfig) -> ModelIdentity | None:
    """What `config` names, told without loading it; None where that cannot be."""
    source = resolve(config.id, config.revision)
    known = remembered_identity(source.cached_folder(), config.dtype)
    return known and renamed(known, source.id, source.revision, source.kind)


def answers_path(commission: Commission, identity: ModelIdentity) -> Path:
    """Where this writer's answers are kept."""
    content = {
        "format": FORMAT,
        "weights": identity.weight_sha256,
        "tokenizer": identity.tokenizer_sha256,
        "template": identity.template_sha256,
        "dtype": commission.writer.dtype,
        "wording": wording_digest(),
        "sampling": commission.sampling.model_dump(),
        "seed": commission.seed,
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return cache_root() / "stories" / f"{digest[:16]}.answers.jsonl"


def chosen_so_far(commission: Commission, identity: ModelIdentity) -> Choice:
    """What the answers that this writer has already given come to.

    Raises:
        StoriesError: the answers file is broken.
    """
    return commission.choose(read_answers(answers_path(commission, identity)))


def writer_of(commission: Commission, identity: ModelIdentity, choice: Choice) -> Writer:
    """Who wrote the stories that were chosen."""
    return Writer(
        model=identity.id,
        revision=identity.revision,
        weight_sha256=identity.weight_sha256,
        tokenizer_sha256=identity.tokenizer_sha256,
        template_sha256=identity.template_sha256,
        dtype=commission.writer.dtype,
        wording_sha256=wording_digest(),
        **commission.sampling.model_dump(),
        attempts=commission.attempts,
        seed=commission.seed,
        n_asked=len(commission.cells),
        n_kept=len(choice.kept),
    )
