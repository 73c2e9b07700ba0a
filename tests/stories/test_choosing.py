"""Which answers are kept, which are asked for again, and what an emotion with too few comes to."""

from pathlib import Path

import pytest

from emoctl.errors import StoriesError
from emoctl.stories import Corpus, Finding, LintReport, Story, choosing, load_corpus
from emoctl.stories.authorship import Writer, record_path
from emoctl.stories.choosing import Answer, Cell, Choice, check_enough, choose
from emoctl.stories.publishing import publish

TEXTS = [s.text for s in load_corpus().stories]
CELLS = [Cell(e, t, 0) for e in ("zealous", "wistful") for t in ("a ferry", "a lamp", "a letter")]
WRITER = Writer("m", None, "w", "t", None, "float32", "p", 0.8, 0.95, 256, 3, 0, 6, 6)


def answers(*attempts: list[str]) -> dict[tuple[Cell, int], Answer]:
    return {
        (cell, attempt): Answer(text, False)
        for attempt, texts in enumerate(attempts)
        for cell, text in zip(CELLS, texts, strict=False)
        if text
    }


def test_sound_answers_are_all_kept() -> None:
    choice = choose(CELLS, 3, answers(TEXTS[:6]))
    assert [s.text for s in choice.stories] == TEXTS[:6]
    assert (choice.failed, choice.wanted) == ({}, ())


def test_what_is_missing_is_asked_for_before_anything_is_decided() -> None:
    some = answers(TEXTS[:6])
    del some[CELLS[4], 0]
    assert choose(CELLS, 3, some).wanted == ((CELLS[4], 0),)
    assert choose(CELLS, 3, {}).wanted == tuple((cell, 0) for cell in CELLS)


@pytest.mark.parametrize(
    ("spoilt", "reason"),
    [
        (TEXTS[1] + " She was zealous.", "leak: names its emotion: 'zealous'"),
        (TEXTS[0], "duplicate: is the same text as zealous / a ferry"),
        (TEXTS[0] + " So it was.", "near-duplicate: shares"),
        ("Too short.", "too short: 2 words, not at least 60"),
        (" ".join(TEXTS[6:9]), "length: has"),
    ],
)
def test_a_story_that_fails_is_asked_for_again_and_then_left_out(spoilt: str, reason: str) -> None:
    first = [TEXTS[0], spoilt, *TEXTS[2:6]]
    assert choose(CELLS, 3, answers(first)).wanted == ((CELLS[1], 1),)
    mended = choose(CELLS, 3, answers(first, ["", TEXTS[7]]))
    assert (mended.kept[CELLS[1]].text, mended.failed) == (TEXTS[7], {})
    assert list(mended.kept) == CELLS
    lost = choose(CELLS, 2, answers(first, ["", spoilt]))
    assert CELLS[1] not in lost.kept
    (reasons,) = lost.failed.values()
    assert [r.startswith(reason) for r in reasons] == [True, True]


def test_a_copy_within_a_cell_is_found_and_the_first_one_kept() -> None:
    cells = [Cell("zealous", "a ferry", index) for index in range(3)]
    said = {
        (c, 0): Answer(text, False)
        for c, text in zip(cells, (TEXTS[0], TEXTS[0], TEXTS[1]), strict=True)
    }
    choice = choose(cells, 1, said)
    assert list(choice.kept) == [cells[0], cells[2]]
    assert list(choice.failed) == [cells[1]]


def test_kinds_of_finding_that_are_not_known_blame_the_story_that_they_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lint(corpus: Corpus) -> LintReport:
        found = [
            Finding("opening", s.emotion, s.topic, (), f"{s.emotion} / {s.topic}: begins alike")  # type: ignore[arg-type]
            for s in corpus.stories[1:]
            if s.topic == "a lamp"
        ]
        whole = Finding("skewed", "zealous", None, (), "zealous: says 'the' too often")  # type: ignore[arg-type]
        return LintReport(len(corpus.stories), 0, 60.0, 0.0, (*found, whole))

    monkeypatch.setattr(choosing, "lint_corpus", lint)
    choice = choose(CELLS, 1, answers(TEXTS[:6]))
    assert choice.failed == dict.fromkeys((CELLS[1], CELLS[4]), ("opening: begins alike",))


def kept(*cells: Cell) -> Choice:
    return Choice({cell: Story(cell.emotion, cell.topic, "t") for cell in cells}, {}, ())


def test_an_emotion_with_too_few_topics_is_an_error_that_names_it() -> None:
    check_enough(kept(*CELLS), CELLS)
    with pytest.raises(StoriesError, match=r"3 topics: wistful \(2 of 3 stories\)$"):
        check_enough(kept(*CELLS[:5]), CELLS)
    with pytest.raises(StoriesError, match=r"zealous \(0 of 3 stories\), wistful \(0 of 3"):
        check_enough(kept(), CELLS)
    two = [cell for cell in CELLS if cell.topic != "a lamp"]
    check_enough(kept(*two), two)  # no more topics are needed than were asked for


def test_a_published_corpus_says_who_wrote_it_and_whether_it_was_edited(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    publish(path, choose(CELLS, 1, answers(TEXTS[:6])), WRITER, CELLS)
    assert load_corpus(str(path)).written_by.writer == WRITER
    path.write_text(path.read_text().replace(" the ", " a ", 1))
    edited = load_corpus(str(path)).written_by
    assert edited.writer is not None and edited.writer.edited
    assert edited.in_words().endswith("edited since")
    record_path(path).write_text("{}")
    with pytest.raises(StoriesError, match="its format is not 'emoctl-written/1'"):
        load_corpus(str(path))
    record_path(path).unlink()
    assert load_corpus(str(path)).written_by.source == "file"
    assert load_corpus().written_by.source == "builtin"
