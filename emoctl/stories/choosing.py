"""A writer's answers → the stories that are kept, what failed, and what to ask for next.

    answers of attempt 0 ─▶ parsed ─▶ lint ─▶ kept
                                  └─▶ failing ─▶ attempt 1 ─▶ … ─▶ failed, with every reason

A pure function of the answers: whoever stopped in the middle goes on to the same corpus. Which
kinds of finding the lint knows is not known here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from emoctl.errors import StoriesError
from emoctl.stories.answers import read_answer
from emoctl.stories.corpus import Corpus, Story
from emoctl.stories.findings import Finding
from emoctl.stories.lint import lint_corpus

MIN_TOPICS = 3
"""Topics on which an emotion must keep a story, where so many are asked for: held-out accuracy
leaves topics out."""


@dataclass(frozen=True, order=True)
class Cell:
    """One story that is asked for."""

    emotion: str
    topic: str
    index: int
    """Which of the stories of this emotion on this topic, from 0."""


@dataclass(frozen=True)
class Answer:
    """What a writer said."""

    text: str
    cut_off: bool
    """Whether it reached its most tokens before it came to an end."""


Answers = Mapping[tuple[Cell, int], Answer]
"""(cell, attempt from 0) → what was said."""


@dataclass(frozen=True)
class Choice:
    """What the answers that are there come to."""

    kept: dict[Cell, Story]
    """In the order of the cells."""

    failed: dict[Cell, tuple[str, ...]]
    """Why each attempt failed, of cells that have none left."""

    wanted: tuple[tuple[Cell, int], ...]
    """(cell, attempt) of the answers that are needed to go on; none where all is decided."""

    @property
    def stories(self) -> tuple[Story, ...]:
        """The stories that are kept."""
        return tuple(self.kept.values())


def choose(cells: Sequence[Cell], attempts: int, answers: Answers) -> Choice:
    """Keep of each cell the first answer that is a story, passes the lint, and copies none that
    was kept before it."""
    kept: dict[Cell, Story] = {}
    reasons: dict[Cell, tuple[str, ...]] = dict.fromkeys(cells, ())
    for attempt in range(attempts):
        waiting = [cell for cell in cells if cell not in kept]
        wanted = tuple((cell, attempt) for cell in waiting if (cell, attempt) not in answers)
        if wanted:
            return Choice(_ordered(cells, kept), {}, wanted)
        problems = _take({cell: answers[cell, attempt] for cell in waiting}, kept)
        for cell, problem in problems.items():
            reasons[cell] += (problem,)
    failed = {cell: reasons[cell] for cell in cells if cell not in kept}
    return Choice(_ordered(cells, kept), failed, ())


def _ordered(cells: Sequence[Cell], kept: Mapping[Cell, Story]) -> dict[Cell, Story]:
    return {cell: kept[cell] for cell in cells if cell in kept}


def _take(said: Mapping[Cell, Answer], kept: dict[Cell, Story]) -> dict[Cell, str]:
    """Add to `kept` what passes; what is wrong with the rest."""
    problems: dict[Cell, str] = {}
    sound: dict[Cell, Story] = {}
    for cell, answer in said.items():
        parsed = read_answer(answer.text, cut_off=answer.cut_off)
        story = Story(cell.emotion, cell.topic, parsed.story)
        problem = parsed.problem or _blame(lint_corpus(Corpus((story,), ())).findings, story)
        if problem:
            problems[cell] = problem
        else:
            sound[cell] = story
    for index in sorted({cell.index for cell in sound}):
        layer = {cell: story for cell, story in sound.items() if cell.index == index}
        copies = _copies(layer, tuple(kept.values()))
        problems.update(copies)
        kept.update({cell: story for cell, story in layer.items() if cell not in copies})
    return problems


def _copies(layer: Mapping[Cell, Story], before: tuple[Story, ...]) -> dict[Cell, str]:
    """What the lint finds in stories, at most one a cell, beside those that stand already.

    A finding names emotion and topic and no story: with one new story a cell that is enough.
    """
    known = {_identity(f) for f in lint_corpus(Corpus(before, ())).findings}
    found = lint_corpus(Corpus((*before, *layer.values()), ())).findings
    new = [f for f in found if _identity(f) not in known]
    blamed = {cell: _blame(new, story) for cell, story in layer.items()}
    return {cell: problem for cell, problem in blamed.items() if problem}


def _identity(finding: Finding) -> tuple[str, str | None, str | None]:
    return finding.kind, finding.emotion, finding.topic


def _blame(findings: Iterable[Finding], story: Story) -> str:
    """The first finding about this emotion and topic; one of a whole emotion blames no story."""
    for finding in findings:
        if (finding.emotion, finding.topic) == (story.emotion, story.topic):
            said = finding.message.removeprefix(f"{story.emotion} / {story.topic}: ")
            return f"{finding.kind}: {said}"
    return ""


def check_enough(choice: Choice, cells: Sequence[Cell]) -> None:
    """Refuse a corpus in which an emotion has stories on too few topics.

    Raises:
        StoriesError: it names the emotions and what is left of them.
    """
    needed = min(MIN_TOPICS, len({cell.topic for cell in cells}))
    poor = []
    for emotion in dict.fromkeys(cell.emotion for cell in cells):
        kept = [cell for cell in choice.kept if cell.emotion == emotion]
        if len({cell.topic for cell in kept}) < needed:
            n_asked = sum(cell.emotion == emotion for cell in cells)
            poor.append(f"{emotion} ({len(kept)} of {n_asked} stories)")
    if poor:
        shown = ", ".join(poor[:5]) + (f" and {len(poor) - 5} more" if len(poor) > 5 else "")
        raise StoriesError(
            f"too few stories for a vector, which takes stories on {needed} topics: {shown}",
            hint="give more topics or attempts, or name another writer; or leave the emotion out",
        )
