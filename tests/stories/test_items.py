"""Messages that vectors are tried on: the built-in ones, and how a bad line is named."""

from collections import Counter
from pathlib import Path

import pytest

from emoctl.errors import StoriesError
from emoctl.stories import load_corpus
from emoctl.stories.items import load_implicit, load_intensity, load_severity
from emoctl.stories.synonyms import find_synonyms
from emoctl.stories.word_forms import find_mentions


def test_implicit_messages_do_not_name_what_their_writer_feels() -> None:
    messages = load_implicit()
    counts = Counter(m.emotion for m in messages)
    assert len(counts) == 24
    assert set(counts.values()) == {10}
    assert len({m.text for m in messages}) == 240
    assert set(counts) < set(load_corpus().emotions)
    said = [m for m in messages if find_mentions(m.emotion, m.text)]
    assert said == []
    assert [m for m in messages if find_synonyms(m.emotion, m.text)] == []


def test_templates_have_a_number_and_a_control_of_the_same_shape() -> None:
    templates = load_intensity()
    assert len(templates) >= 8
    assert len({t.name for t in templates}) == len(templates)
    for template in templates:
        first, last = template.values[0], template.values[-1]
        assert str(first) in template.filled(first)
        assert str(last) in template.filled(last, control=True)
        assert template.filled(first) != template.filled(first, control=True)
    assert {t.sign for t in templates} == {-1, 1}


def test_pairs_keep_their_numbers() -> None:
    assert len(load_severity()) >= 8
    assert all(p.mild != p.severe for p in load_severity())


GOOD = '{"name": "n", "emotion": "sad", "sign": 1, "text": "a {x}", "control": "b {x}", '
MORE = '"values": [1, 2, 3], "why": "w"}'


@pytest.mark.parametrize(
    ("load", "line", "said"),
    [
        (load_implicit, '{"emotion": "sad"}', "1: field 'text': Field required"),
        (load_implicit, "{", "1: Invalid JSON"),
        (load_implicit, '{"emotion": "sad", "text": ""}', "1: field 'text'"),
        (load_implicit, '{"emotion": "sad", "text": "x", "y": 1}', "1: field 'y'"),
        (load_intensity, GOOD.replace("a {x}", "a") + MORE, "text must hold {x} once"),
        (load_intensity, GOOD.replace("b {x}", "b {x} {x}") + MORE, "control must hold {x} once"),
        (load_intensity, GOOD + MORE.replace("1, 2, 3", "1, 3, 2"), "values must ascend"),
        (load_intensity, GOOD + MORE.replace("1, 2, 3", "1, 2"), "field 'values'"),
        (load_intensity, GOOD.replace("1,", "2,", 1) + MORE, "field 'sign'"),
        (
            load_severity,
            '{"name": "n", "emotion": "sad", "sign": 1, "mild": "3 a", "severe": "4 b"}',
            "must hold the same numbers",
        ),
        (load_severity, "", "holds no item"),
    ],
)
def test_a_bad_line_is_named(load, line: str, said: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "items.jsonl"
    path.write_text(line + "\n", encoding="utf-8")
    with pytest.raises(StoriesError) as found:
        load(str(path))
    assert said in str(found.value)
    assert str(path) in str(found.value)
    if load is load_intensity:
        path.write_text(GOOD + MORE, encoding="utf-8")
        assert load(str(path))[0].filled(2) == "a 2", "control: the sound line is read"
