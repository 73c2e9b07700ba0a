"""Corpora: stories that make a character feel one emotion, and neutral texts to set against them.

A corpus is text with a content hash. It does not know tokens, tensors, or how a story becomes a
vector.
"""

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path

from emoctl.errors import StoriesError, did_you_mean
from emoctl.stories.authorship import Authorship, read_authorship

BUILTIN = "builtin"
GZIP_MAGIC = b"\x1f\x8b"
STORY_FIELDS = ("emotion", "topic", "text")
NEUTRAL_FIELDS = ("topic", "text")
FORMAT_HINT = "one JSON object a line: stories {emotion, topic, text}, neutral texts {topic, text}"


@dataclass(frozen=True)
class Story:
    """A short text whose character feels `emotion`, without naming it."""

    emotion: str
    topic: str
    text: str


@dataclass(frozen=True)
class NeutralText:
    """A short text in which nobody feels anything."""

    topic: str
    text: str


@dataclass(frozen=True)
class Corpus:
    """Stories and neutral texts, in the order of their files."""

    stories: tuple[Story, ...]
    neutral: tuple[NeutralText, ...]
    written_by: Authorship = field(default=Authorship("file"), compare=False)
    """Who wrote the stories; no part of the content."""

    @property
    def digest(self) -> str:
        """`sha256:…` over the content; the order and the spelling of the files do not matter."""
        records = [{"emotion": s.emotion, "topic": s.topic, "text": s.text} for s in self.stories]
        records += [{"topic": n.topic, "text": n.text} for n in self.neutral]
        lines = sorted(
            json.dumps(record, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
            for record in records
        )
        return "sha256:" + hashlib.sha256("\n".join(lines).encode()).hexdigest()

    @property
    def emotions(self) -> tuple[str, ...]:
        """Each emotion once, in the order in which stories name them."""
        return tuple(dict.fromkeys(s.emotion for s in self.stories))

    @property
    def topics(self) -> tuple[str, ...]:
        """Each topic of the stories once, in the order in which they name them."""
        return tuple(dict.fromkeys(s.topic for s in self.stories))


def load_corpus(emotional: str = BUILTIN, neutral: str = BUILTIN) -> Corpus:
    """Read a corpus; each part is `builtin` or the path of a JSONL file, plain or gzipped.

    Raises:
        StoriesError: a file is absent, empty or unreadable, a line is malformed, or all stories
            are of one emotion; the message names file and line.
    """
    stories = tuple(
        Story(**record) for record in _records(emotional, "stories.jsonl", STORY_FIELDS)
    )
    if len({s.emotion for s in stories}) == 1:
        raise StoriesError(
            f"{source_label(emotional, 'stories.jsonl')}: every story is of one emotion, "
            f"{stories[0].emotion!r}",
            hint="an emotion vector is a difference between emotions: give at least two",
        )
    texts = tuple(
        NeutralText(**record) for record in _records(neutral, "neutral.jsonl", NEUTRAL_FIELDS)
    )
    written_by = Authorship("builtin")
    if emotional != BUILTIN:
        written_by = read_authorship(Path(emotional), Corpus(stories, ()).digest)
    return Corpus(stories, texts, written_by)


def load_held_out(source: str = BUILTIN) -> tuple[Story, ...]:
    """Stories that no vector is made from: `builtin`, or a JSONL file of {emotion, topic, text}.

    Raises:
        StoriesError: as `load_corpus`.
    """
    return tuple(Story(**record) for record in _records(source, "held_out.jsonl", STORY_FIELDS))


def only_emotions(corpus: Corpus, emotions: Sequence[str]) -> Corpus:
    """The stories of some emotions, and all neutral texts.

    Raises:
        StoriesError: the corpus has no such emotion.
    """
    unknown = [emotion for emotion in emotions if emotion not in corpus.emotions]
    if unknown:
        raise StoriesError(
            f"stories.emotions: the corpus has no emotion {unknown[0]!r}",
            hint=did_you_mean(
                unknown[0], list(corpus.emotions), listing="emoctl stories ls lists them"
            ),
        )
    kept = tuple(story for story in corpus.stories if story.emotion in emotions)
    return replace(corpus, stories=kept)


def _records(source: str, builtin_name: str, fields: tuple[str, ...]) -> Iterator[dict[str, str]]:
    label = source_label(source, builtin_name)
    empty = True
    for number, line in enumerate(read_content(source, builtin_name).splitlines(), start=1):
        if line.strip():
            empty = False
            yield _record(line, f"{label}:{number}", fields)
    if empty:
        raise StoriesError(f"{label}: holds no text", hint=FORMAT_HINT)


def source_label(source: str, builtin_name: str) -> str:
    """What a message calls the file."""
    return f"{BUILTIN}/{builtin_name}" if source == BUILTIN else source


def read_content(source: str, builtin_name: str) -> bytes:
    """The bytes of a file, plain or gzipped, without a byte order mark.

    Raises:
        StoriesError: it is absent or cannot be read.
    """
    if source == BUILTIN:
        return resources.files("emoctl.stories").joinpath("data", builtin_name).read_bytes()
    try:
        content = Path(source).read_bytes()
        if content.startswith(GZIP_MAGIC):
            content = gzip.decompress(content)
    except FileNotFoundError:
        raise StoriesError(
            f"{source}: no such file", hint=f"give a JSONL file, or {BUILTIN!r}"
        ) from None
    except (OSError, EOFError, zlib.error) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise StoriesError(f"{source}: cannot be read: {why}") from error
    return content.removeprefix(b"\xef\xbb\xbf")


def _record(line: bytes, where: str, fields: tuple[str, ...]) -> dict[str, str]:
    try:
        found = json.loads(line.decode("utf-8"), object_pairs_hook=_distinct)
    except UnicodeDecodeError as error:
        problem = f"byte {error.start + 1} is not UTF-8"
    except json.JSONDecodeError as error:
        problem = f"is not JSON: {error.msg} at column {error.colno}"
    except RecursionError:
        problem = "is not JSON that can be read: it is nested too deeply"
    except ValueError as error:
        problem = str(error)
    else:
        problem = _problem(found, fields)
        if not problem:
            return {name: str(found[name]) for name in fields}
    raise StoriesError(f"{where}: {problem}", hint=FORMAT_HINT)


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    names = [name for name, _ in pairs]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"field {twice[0]!r} stands twice")
    return dict(pairs)


def _problem(found: object, fields: tuple[str, ...]) -> str:
    """What is wrong with a line, or an empty string."""
    if not isinstance(found, dict):
        return f"is a JSON {type(found).__name__}, not an object"
    missing = [name for name in fields if name not in found]
    if missing:
        return f"lacks field {missing[0]!r}"
    extra = [name for name in found if name not in fields]
    if extra:
        return f"has an unknown field {extra[0]!r}"
    for name in fields:
        problem = _text_problem(found[name], label=name != "text")
        if problem:
            return f"field {name!r} {problem}"
    return ""


def _text_problem(value: object, *, label: bool) -> str:
    if not isinstance(value, str):
        return f"must be text, got {json.dumps(value)[:40]}"
    if not value.strip():
        return "is empty"
    if label and (value != value.strip() or not value.isprintable()):
        return f"must be one line without spaces around it, got {value[:40]!r}"
    if any("\ud800" <= character <= "\udfff" for character in value):
        return "holds half of a surrogate pair, which no UTF-8 file can"
    return ""
