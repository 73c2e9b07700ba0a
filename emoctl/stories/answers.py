"""A model's answer → the story in it, or why there is none.

    thinking, chat ─▶ preamble, title, marker ─▶ talk about the story ─▶ quotes ─▶ long enough?

What is around a story is taken off; the story itself is not changed. Whether it conveys anything,
or names its emotion, is not known here.
"""

import re
import unicodedata
from dataclasses import dataclass

MIN_WORDS = 60
"""Fewest words of a story: more tokens than the mean of a story leaves out by default, 50."""

RUN = 5
MOST_REPEATED = 0.15
"""Largest share of a story's 5-word runs that may have stood in it before: small models get into
loops, people stay below a thirtieth."""

UNREADABLE = "\N{REPLACEMENT CHARACTER}"
QUOTES = {'"': '"', "\u201c": "\u201d", "\u00ab": "\u00bb"}
TITLE_WORDS = 12
_STORY = r"\b(?:story|stories|paragraph|scene|piece|version|tale|narrative|text|response)\b"
_SHOWS = (
    r"(?:shows?|conveys?|captures?|depicts?|explores?|illustrates?|demonstrates?|follows?|uses?)\b"
)
_THINKING = re.compile(r"^\s*<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL)
_NEXT_TURN = re.compile(r"^\s*(?:Human|User|Assistant|System)\s*:", re.MULTILINE)
_ASSENT = re.compile(
    r"^(?:sure(?: thing)?|certainly|of course|okay|ok|absolutely|gladly|understood)[.!,]?"
    r"(?:[ \t]*\n\s*|\s+(?=here(?:['\u2019]s| is| are)\b|below\b|i['\u2019]?(?:d|ll)?\b))",
    re.IGNORECASE,
)
_OFFER = re.compile(
    rf"^i(?:['\u2019]d| would|['\u2019]ll| will) (?:be (?:happy|glad|pleased)|do my best|try)\b"
    rf"[^.!:\n]{{0,120}}{_STORY}[^.!:\n]{{0,120}}[.!:]\s*",
    re.IGNORECASE,
)
_PREAMBLE = re.compile(
    rf"^(?:here(?:['\u2019]s| is| are)|below is|this is|the following is)\b[^:\n]{{0,200}}?{_STORY}"
    r"[^:\n]{0,200}(?::\s*|\.?\s*\n\s*\n?)",
    re.IGNORECASE,
)
_MARKER = re.compile(
    r"^[ \t]*[\[(*#]*[ \t]*story(?:[ \t]*(?:#[ \t]*)?\d+)?[ \t]*(?:[\])*]+[ \t]*:?|:)[ \t*]*",
    re.IGNORECASE,
)
_NEXT_STORY = re.compile(
    r"^[ \t]*[\[(*#]*[ \t]*story[ \t]*(?:#[ \t]*)?\d+[ \t]*(?:[\])*:]|$)",
    re.IGNORECASE | re.MULTILINE,
)
_ABOUT = re.compile(
    r"^\W*(?:"
    rf"(?:in )?this (?:short )?{_STORY}|"
    rf"(?:in )?(?:the|my) (?:short |above )?{_STORY}\s+(?:above|{_SHOWS})|"
    rf"i (?:hope|tried|aimed|chose|have written|wrote)\b[^.]*(?:{_STORY}|\bthis\b|\byou\b)|"
    r"(?:author['\u2019]s |please )?note\b|word count|\(?\d+ words\)?|total words|"
    r"let me know|would you like|feel free|the end\W*$|"
    r"(?:moral|explanation|analysis|feedback|feeling|topic|title)\s*:|-{3,}|\*{3,}|_{3,}"
    r")",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"\bas an? (?:ai|artificial|(?:large )?language model)\b|"
    r"\bi(?:['\u2019]m| am) (?:sorry|afraid|unable|not able)\b[^.]{0,60}"
    r"\b(?:can(?:not|['\u2019]t)|unable|assist|help you|comply|fulfil|write)\b|"
    r"\bi (?:can(?:not|['\u2019]t)|won['\u2019]t|am unable to|will not) "
    r"(?:assist|comply|fulfil|help with|provide|generate|create|write (?:this|that|a|such|your))\b",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?\u2026][\"'\u201d\u2019\u00bb)]*(?=\s|$)")


@dataclass(frozen=True)
class Parsed:
    """What was found in an answer; one of the two is empty."""

    story: str
    problem: str


def read_answer(answer: str, *, cut_off: bool) -> Parsed:
    """The story in `answer`. One that was cut off ends behind its last whole sentence."""
    text = _THINKING.sub("", answer.replace("\r\n", "\n")).strip()
    if text.startswith("<think"):
        return Parsed("", "no story: thinking that does not end")
    if _REFUSAL.search(text[:300]):
        return Parsed("", "a refusal")
    text = _without_quotes(_body(text))
    if cut_off:
        ends = list(_SENTENCE_END.finditer(text))
        text = text[: ends[-1].end()] if ends else ""
    problem = _problem(text)
    return Parsed("" if problem else text, problem)


def _problem(text: str) -> str:
    if not text:
        return "no story in the answer"
    if UNREADABLE in text or any(_is_control(c) for c in text):
        return "holds bytes or control characters that are no text"
    words = text.casefold().split()
    if len(words) < MIN_WORDS:
        return f"too short: {len(words)} words, not at least {MIN_WORDS}"
    repeated = _repeated(words)
    return f"goes in circles: {repeated:.0%} repeated" if repeated > MOST_REPEATED else ""


def _repeated(words: list[str]) -> float:
    """The share of a text's runs of words that stood in it before."""
    runs = [tuple(words[i : i + RUN]) for i in range(len(words) - RUN + 1)]
    return 1 - len(set(runs)) / len(runs)


def _is_control(character: str) -> bool:
    return character not in "\n\t" and unicodedata.category(character) in ("Cc", "Cs")


def _body(text: str) -> str:
    """The paragraphs of the story: what opens the answer and what follows the story left out."""
    turn = _NEXT_TURN.search(text, 1)
    text = _opened(text[: turn.start()] if turn else text)
    other = _NEXT_STORY.search(text, 1)
    kept: list[str] = []
    for paragraph in re.split(r"\n[ \t]*\n", text[: other.start()] if other else text):
        if _ABOUT.match(paragraph):
            break
        kept.append(paragraph.strip())
    return "\n\n".join(filter(None, kept))


def _opened(text: str) -> str:
    """The text from the story's first word on: assent, preamble, marker and title in any order."""
    while True:
        shorter = text
        for pattern in (_ASSENT, _OFFER, _PREAMBLE, _MARKER):
            shorter = pattern.sub("", shorter, count=1).lstrip()
        shorter = _without_title(shorter)
        if shorter == text:
            return text
        text = shorter


def _without_title(text: str) -> str:
    first, newline, rest = text.partition("\n")
    line = first.strip()
    if not newline or not rest.strip():
        return text
    marked = line.startswith("#") or re.fullmatch(r"(\*+|_+)[^*_]+\1:?", line)
    named = line.lower().startswith("title:")
    plain = len(line.split()) <= TITLE_WORDS and not re.search(r"[.!?\u2026,;][\"'\u201d]*$", line)
    short_quote = line[:1] in QUOTES and len(line.split()) <= TITLE_WORDS // 2
    spaced = rest.startswith("\n")
    return rest.strip() if marked or named or (plain and (spaced or not short_quote)) else text


def _without_quotes(text: str) -> str:
    """The text without a pair of quotation marks around the whole of it: one whose first mark is
    followed by another that opens, or by none."""
    closing = QUOTES.get(text[:1])
    if closing is None or not text.endswith(closing) or len(text) < 2:
        return text
    inside = text[1:-1]
    marks = [i for i, c in enumerate(inside) if c in (text[0], closing)]
    opens = not marks or (inside[marks[0]] == text[0] and inside[: marks[0]][-1:].isspace())
    return inside.strip() if opens else text
