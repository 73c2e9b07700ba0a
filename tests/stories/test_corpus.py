"""Corpora: what the built-in one holds, what a file may hold, and how a bad line is named."""

import gzip
import json
from pathlib import Path

import pytest

from emoctl.errors import StoriesError
from emoctl.stories import Corpus, NeutralText, Story, load_corpus, only_emotions
from emoctl.stories.clusters import POSITIVE, TWELVE, published_clusters
from emoctl.stories.corpus import load_held_out

GOOD = [
    {"emotion": "calm", "topic": "a walk", "text": "She breathed out."},
    {"emotion": "sad", "topic": "a walk", "text": "He sat down and wept."},
]


def write_lines(path: Path, records: list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in records))
    return path


def test_builtin_corpus_is_a_full_grid() -> None:
    corpus = load_corpus()
    assert len(corpus.emotions) == 171
    assert len(corpus.topics) == 12
    assert len(corpus.stories) == len({(s.emotion, s.topic) for s in corpus.stories}) == 2052
    assert len(corpus.neutral) == len({n.topic for n in corpus.neutral}) == 263


def test_builtin_stories_have_the_length_that_their_page_says() -> None:
    lengths = [len(s.text.split()) for s in (*load_corpus().stories, *load_held_out())]
    assert min(lengths) >= 95
    assert max(lengths) <= 125


def test_builtin_neutral_texts_are_two_thirds_dialogues() -> None:
    texts = [n.text for n in load_corpus().neutral]
    dialogues = [text for text in texts if text.startswith("Human: ")]
    assert 0.6 < len(dialogues) / len(texts) < 0.75
    assert all("\n\nAssistant: " in text for text in dialogues)


def test_held_out_stories_share_no_topic_with_the_corpus() -> None:
    corpus, held = load_corpus(), load_held_out()
    topics = {s.topic for s in held}
    assert len(topics) == 4
    assert not topics & set(corpus.topics)
    assert len({s.emotion for s in held}) == 40
    assert len(held) == 160
    assert {s.emotion for s in held} < set(corpus.emotions)


def test_the_published_clusters_hold_every_emotion_once() -> None:
    clusters = published_clusters()
    assert set(clusters) == set(load_corpus().emotions)
    assert len(set(clusters.values())) == 10
    assert len(POSITIVE) == 5
    assert set(clusters.values()) > POSITIVE
    assert set(clusters) > set(TWELVE)


def test_some_emotions_of_a_corpus_are_a_corpus() -> None:
    whole = load_corpus()
    few = only_emotions(whole, ["calm", "at ease"])
    assert set(few.emotions) == {"calm", "at ease"}
    assert len(few.stories) == 24
    assert few.neutral == whole.neutral
    assert few.digest != whole.digest
    with pytest.raises(StoriesError, match="no emotion 'clam'") as found:
        only_emotions(whole, ["calm", "clam"])
    assert found.value.hint == "did you mean 'calm'?"


def test_digest_ignores_order_and_notices_every_field() -> None:
    stories = (Story("calm", "a", "x"), Story("sad", "b", "y"))
    neutral = (NeutralText("a", "z"),)
    digest = Corpus(stories, neutral).digest
    assert digest.startswith("sha256:")
    assert len(digest) == len("sha256:") + 64
    assert Corpus(stories[::-1], neutral).digest == digest
    others = [
        Corpus((Story("calm", "a", "x"), Story("sad", "b", "Y")), neutral),
        Corpus((Story("calm", "a", "x"), Story("sad", "c", "y")), neutral),
        Corpus((Story("calm", "a", "x"), Story("mad", "b", "y")), neutral),
        Corpus((*stories, stories[0]), neutral),
        Corpus(stories, (NeutralText("a", "Z"),)),
        Corpus(stories, ()),
    ]
    assert len({digest, *(o.digest for o in others)}) == 1 + len(others)


def test_a_gzipped_file_is_the_same_corpus(tmp_path: Path) -> None:
    plain = write_lines(tmp_path / "s.jsonl", GOOD)
    packed = tmp_path / "s.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert load_corpus(str(packed)).digest == load_corpus(str(plain)).digest
    assert load_corpus(str(plain)).digest != load_corpus().digest


def test_neutral_texts_come_from_their_own_file(tmp_path: Path) -> None:
    neutral = write_lines(tmp_path / "n.jsonl", [{"topic": "kettles", "text": "Fill it."}])
    assert load_corpus(neutral=str(neutral)).neutral == (NeutralText("kettles", "Fill it."),)


def test_windows_line_ends_blank_lines_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    lines = "\r\n\r\n".join(json.dumps(r) for r in GOOD)
    path.write_bytes(b"\xef\xbb\xbf" + lines.encode() + b"\r\n")
    assert load_corpus(str(path)).stories == tuple(Story(**r) for r in GOOD)


GOOD_LINE = json.dumps(GOOD[0]).encode()


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"{not json", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[1]", "is a JSON list, not an object"),
        (b'{"emotion": "sad", "topic": "t"}', "lacks field 'text'"),
        (b'{"emotion": "sad", "topic": "t", "text": "x", "id": 1}', "unknown field 'id'"),
        (b'{"emotion": "sad", "topic": "t", "text": " "}', "field 'text' is empty"),
        (b'{"emotion": "", "topic": "t", "text": "x"}', "field 'emotion' is empty"),
        (b'{"emotion": "sad ", "topic": "t", "text": "x"}', "field 'emotion' must be one line"),
        (b'{"emotion": "sad", "topic": "a\\u001b[2J", "text": "x"}', "field 'topic' must be one"),
        (b'{"emotion": 3, "topic": "t", "text": "x"}', "field 'emotion' must be text, got 3"),
        (b'{"emotion": "a", "emotion": "b", "topic": "t", "text": "x"}', "'emotion' stands twice"),
        (b'{"emotion": "sad", "topic": "t", "text": "\xff"}', "is not UTF-8"),
        (b'{"emotion": "sad", "topic": "t", "text": "\\ud800"}', "half of a surrogate pair"),
    ],
)
def test_a_bad_line_is_named_with_file_and_line(tmp_path: Path, line: bytes, problem: str) -> None:
    path = tmp_path / "s.jsonl"
    path.write_bytes(GOOD_LINE + b"\n" + line + b"\n")
    with pytest.raises(StoriesError) as caught:
        load_corpus(str(path))
    message = str(caught.value)
    assert message.startswith(f"{path}:2: ")
    assert problem in message
    assert "\n" not in message
    assert caught.value.hint


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_an_empty_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "s.jsonl"
    path.write_bytes(content)
    with pytest.raises(StoriesError, match="holds no text"):
        load_corpus(str(path))
    with pytest.raises(StoriesError, match="holds no text"):
        load_corpus(neutral=str(path))


def test_a_single_emotion_is_refused(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "s.jsonl", [GOOD[0], {**GOOD[0], "text": "Another."}])
    with pytest.raises(StoriesError, match="every story is of one emotion, 'calm'"):
        load_corpus(str(path))


@pytest.mark.parametrize(
    "content",
    [b"\x1f\x8bnot gzip", gzip.compress(GOOD_LINE)[:-9]],
    ids=["not gzip", "cut off"],
)
def test_broken_gzip_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "s.jsonl.gz"
    path.write_bytes(content)
    with pytest.raises(StoriesError, match="cannot be read"):
        load_corpus(str(path))


def test_an_absent_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoriesError, match="no such file"):
        load_corpus(str(tmp_path / "absent.jsonl"))
    with pytest.raises(StoriesError, match="cannot be read"):
        load_corpus(str(tmp_path))
