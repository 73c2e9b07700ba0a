"""Mails out of a model's text: who is written to, under which subject, with which words.

    [**]To: a, b      a mail begins; Cc, Bcc, Subject, From, Date may stand beside it
    Subject: s
                      blank line, or not
    body …            until the next mail, a line of dashes, a closing code fence, or the end

Any text has some list of mails, perhaps an empty one. What a mail means is not known here.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_DECORATION = r"[\s*_#`\"'“”‘’•\-]*+(?:\d{1,2}[.)]\s*+[*_`\"“]*+)?+"
_QUOTE_MARKS = re.compile(r"^(?:[ \t]*+>)++ ?")
_HEADER = re.compile(
    rf"^{_DECORATION}(?P<key>from|to|cc|bcc|subject|date|time|sent|body|text|message)"
    r"\s*[*_`]*\s*[:：][*_`]*(?P<value>.*)$",
    re.IGNORECASE,
)
_SUBJECT_INSIDE = re.compile(r"[,;]?\s[*_`]*subject\s*[:：]", re.IGNORECASE)
_SEPARATOR = re.compile(r"^\s*(?:[-=_*~—–]{3,}|`{3,}\w*)\s*$")
_THOUGHT = re.compile(
    r"<(?P<tag>think|thinking|reasoning|scratchpad\w*)>.*?(?:</(?P=tag)>|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_FORWARDS = re.compile(
    r"\b(?:fwd?|forward(?:ed|ing)?|original message|see below|below is|attached|copy of"
    r"|here (?:is|are))\b",
    re.IGNORECASE,
)
_GREETING = re.compile(r"^\s*(?:dear|hi|hello|good (?:morning|day|afternoon))\b", re.IGNORECASE)
_ADDRESS_WORDS = 8
_EDGES = " \t*_`\"“”'"


@dataclass
class _Draft:
    """A mail while its lines are read."""

    sender: str = ""
    to: list[str] = field(default_factory=list)
    subject: str = ""
    body: list[str] = field(default_factory=list)
    quoting: bool = False
    closed: bool = False

    @property
    def has_body(self) -> bool:
        return bool(self.body)

    @property
    def forwards(self) -> bool:
        return bool(_FORWARDS.search(self.subject) or _FORWARDS.search(" ".join(self.body)))


@dataclass(frozen=True)
class Mail:
    """One mail that stands in a text."""

    to: str
    """Everything after `To:`, `Cc:` and `Bcc:`, separated by commas."""

    sender: str
    """What stands after `From:`; usually empty."""

    subject: str
    body: str
    forwards: bool
    """Whether it says that it passes on another text."""

    complete: bool
    """Whether another mail begins after it or the turn ended."""


def parse_mails(text: str, *, ended: bool) -> tuple[Mail, ...]:
    """The mails in `text`, in order; `ended` says whether the model ended its turn by itself.

    Thoughts in `<think>` tags are not sent, so mails in them are left out.
    """
    lines = [_QUOTE_MARKS.sub("", line) for line in _THOUGHT.sub("\n", text).splitlines()]
    drafts = [draft for draft in _drafts(lines) if draft.to]
    return tuple(
        Mail(
            to=", ".join(part for part in draft.to if part),
            sender=draft.sender,
            subject=draft.subject,
            body="\n".join(draft.body).strip(),
            forwards=draft.forwards,
            complete=ended or draft is not drafts[-1],
        )
        for draft in drafts
    )


def _drafts(lines: list[str]) -> list[_Draft]:
    drafts: list[_Draft] = []
    for i, line in enumerate(lines):
        draft = drafts[-1] if drafts else None
        key, value = _header(line)
        if key in ("from", "to", "subject") and _begins(draft, key, lines[i + 1 :]):
            draft = _Draft()
            drafts.append(draft)
        if draft is None or draft.closed:
            continue
        _read_line(draft, line, key, value)
    return drafts


def _header(line: str) -> tuple[str, str]:
    match = _HEADER.match(line)
    if match is None:
        return "", ""
    return match["key"].lower(), match["value"].strip(_EDGES)


def _begins(draft: _Draft | None, key: str, following: list[str]) -> bool:
    """Whether a header `key` begins a new mail after `draft`."""
    if draft is None or draft.closed:
        return key != "subject" or _to_follows(following)
    if key == "from":
        return not draft.forwards and (bool(draft.to) or draft.has_body)
    if key == "to":
        return (draft.has_body and not draft.quoting) or (bool(draft.to) and not draft.has_body)
    return draft.has_body and not draft.quoting and _to_follows(following)


def _to_follows(following: list[str]) -> bool:
    line = next((line for line in following if line.strip()), "")
    return _header(line)[0] == "to"


def _read_line(draft: _Draft, line: str, key: str, value: str) -> None:
    if _SEPARATOR.match(line):
        draft.closed = draft.has_body and not draft.forwards
        return
    if draft.has_body:
        draft.quoting = key in ("from", "to", "cc", "subject", "date", "time", "sent") and (
            draft.quoting or key == "from"
        )
        draft.body.append(line)
    elif key in ("to", "cc", "bcc"):
        _read_recipients(draft, value)
    elif key == "from":
        draft.quoting = bool(draft.to)
        if draft.quoting:
            draft.body.append(line)
        else:
            draft.sender = value
    elif key == "subject":
        draft.subject = value
    elif key in ("date", "time", "sent"):
        return
    elif draft.to == [""] and _is_address(line):
        draft.to.append(line.strip(_EDGES + "-•"))
    elif line.strip():
        draft.body.append(value if key else line)


def _read_recipients(draft: _Draft, value: str) -> None:
    recipients, *subject = _SUBJECT_INSIDE.split(value, maxsplit=1)
    draft.to.append(recipients.strip(_EDGES))
    if subject:
        draft.subject = subject[0].strip(_EDGES)


def _is_address(line: str) -> bool:
    return 0 < len(line.split()) <= _ADDRESS_WORDS and not _GREETING.match(line)


def recipients_of(to: str) -> Iterator[str]:
    """The single recipients in `to`, as written."""
    for part in re.split(r"[,;&\n]|\band\b", to):
        if name := part.strip(_EDGES):
            yield name
