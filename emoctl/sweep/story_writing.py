"""A commission → stories: what is missing is asked of the model, until every story is decided.

    choose ─▶ answers that are missing ─▶ prompts ─▶ executor ─▶ answers file ─┐
      ▲                                                                        │
      └────────────────────────────────────────────────────────────────────────┘

A text's noise is a function of (seed, emotion, topic, index, attempt) alone, so it does not depend
on what is written beside it, and whoever stopped in the middle goes on to the same stories.
"""

import math
from collections.abc import Callable, Sequence

from emoctl.engine.choice import EngineSetup
from emoctl.engine.noise import NoiseKey
from emoctl.models.loading import LoadedModel
from emoctl.models.prompts import Prompt, check_context, render
from emoctl.scenarios import Message
from emoctl.stories.choosing import Answer, Answers, Cell, Choice
from emoctl.stories.wording import story_prompt
from emoctl.sweep.commission import Commission, answers_path
from emoctl.sweep.executor import Executor
from emoctl.sweep.plan import ROUNDS
from emoctl.sweep.story_file import open_answers
from emoctl.sweep.tasks import WriteRow, WriteTask, WritingDone

STREAM = "story"
"""Begins the names of noise streams; no scenario's name holds the space that follows it."""

Wanted = tuple[Cell, int]
"""(cell, attempt)."""

Progress = Callable[[int, int], None]
"""Told how many texts are there, and how many there will be as far as is known yet."""


def write_stories(
    commission: Commission,
    model: LoadedModel,
    engine: EngineSetup,
    executor: Executor,
    on_text: Progress = lambda _done, _total: None,
    on_wait: Callable[[], None] = lambda: None,
) -> Choice:
    """Have the executor write what the answers file lacks, until every story is kept or failed.

    `on_wait` is called where another process writes with this writer, which is waited for.

    Raises:
        PromptError: a prompt and its story do not fit the model.
        StoriesError: the answers file is broken or cannot be written.
    """
    with open_answers(answers_path(commission, model.identity), on_wait) as file:
        while (choice := commission.choose(file.answers)).wanted:
            asked = {noise_key(commission.seed, want): want for want in choice.wanted}
            n_done = _n_there(commission, file.answers)
            total = n_done + len(asked)
            on_text(n_done, total)
            for done in executor.run(writing_tasks(commission, model, choice.wanted, engine)):
                assert isinstance(done, WritingDone)
                file.add(*asked[done.noise], _answer(model, done))
                n_done += 1
                on_text(n_done, total)
    return choice


def writing_tasks(
    commission: Commission, model: LoadedModel, wanted: Sequence[Wanted], engine: EngineSetup
) -> list[WriteTask]:
    """What is wanted as units of work, in equal shares for the engine's workers.

    Raises:
        PromptError: a prompt and its story do not fit the model.
    """
    rows = write_rows(commission, model, wanted)
    share = engine.workers * math.ceil(len(rows) / (engine.workers * ROUNDS * engine.rows))
    size = max(1, math.ceil(len(rows) / max(1, share)))
    return [
        WriteTask(tuple(rows[start : start + size]), commission.sampling)
        for start in range(0, len(rows), size)
    ]


def write_rows(
    commission: Commission, model: LoadedModel, wanted: Sequence[Wanted]
) -> list[WriteRow]:
    """A row for each; the prompt of an emotion and topic is rendered once."""
    prompts: dict[tuple[str, str], Prompt] = {}
    rows = []
    for cell, attempt in wanted:
        key = (cell.emotion, cell.topic)
        if key not in prompts:
            prompts[key] = _prompt(commission, model, *key)
        noise = noise_key(commission.seed, (cell, attempt))
        rows.append(WriteRow(prompts[key].token_ids, prompts[key].response_start, noise))
    return rows


def noise_key(seed: int, wanted: Wanted) -> NoiseKey:
    """The stream that a text draws from."""
    cell, attempt = wanted
    return NoiseKey(seed, f"{STREAM} {cell.emotion}", cell.topic, cell.index, attempt)


def _prompt(commission: Commission, model: LoadedModel, emotion: str, topic: str) -> Prompt:
    prompt = render(model.tokenizer, [Message(role="user", content=story_prompt(emotion, topic))])
    n_tokens = len(prompt.token_ids) + commission.sampling.max_new_tokens
    check_context(model, n_tokens, f"a story of {emotion!r} about {topic!r}")
    return prompt


def _answer(model: LoadedModel, done: WritingDone) -> Answer:
    token_ids = list(done.completion.token_ids)
    text = model.tokenizer.decode(token_ids, skip_special_tokens=True)
    return Answer(text, done.completion.stop == "length")


def _n_there(commission: Commission, answers: Answers) -> int:
    cells = set(commission.cells)
    return sum(cell in cells and attempt < commission.attempts for cell, attempt in answers)
