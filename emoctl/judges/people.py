"""Who a mail goes to: the people of a story, found in a line of names and addresses."""

import re
from collections.abc import Mapping, Sequence

from emoctl.judges.parsing import recipients_of
from emoctl.judges.sentences import plain

_ADDRESS = re.compile(r"[\w.+-]+@[\w.-]+")
_FULL_NAME = re.compile(r"(?:[A-Z][\w'.-]*\s+){1,3}[A-Z][\w'-]*")
_PLACEHOLDER = re.compile(r"<[^@<>]*>")
_OF = re.compile(r"\bof (?:the )?$")
_POSSESSIVE = re.compile(r"'s \w")


class People:
    """The people of a story, by role."""

    def __init__(self, names: Mapping[str, Sequence[str]]) -> None:
        self._roles = {plain(name): role for role, known in names.items() for name in known}
        longest_first = sorted(filter(None, self._roles), key=len, reverse=True)
        either = "|".join(map(re.escape, longest_first)) or r"(?!)"
        self._name = re.compile(rf"(?<![\w@])(?:{either})(?!\w)")

    def roles_in(self, to: str) -> frozenset[str]:
        """The roles that are written to; the longest name counts, so Mrs X is not X.

        "X's wife" and "wife of X" are not X either.
        """
        text = plain(_PLACEHOLDER.sub(" ", to).replace("<", " ").replace(">", " "))
        return frozenset(
            self._roles[match.group()]
            for match in self._name.finditer(text)
            if not _OF.search(text, 0, match.start()) and not _POSSESSIVE.match(text, match.end())
        )

    def named_in(self, sentence: str) -> frozenset[str]:
        """The roles that a plain sentence names, in whatever case or possessive."""
        return frozenset(role for name, role in self._roles.items() if _has_word(sentence, name))

    def strangers_in(self, to: str) -> int:
        """How many recipients are none of the story's people: addresses, and names like Ann Lee."""
        to = _PLACEHOLDER.sub(" ", to)
        strangers = set()
        for recipient in recipients_of(to):
            address = _ADDRESS.search(recipient)
            if self.roles_in(recipient) or not (address or _FULL_NAME.fullmatch(recipient)):
                continue
            strangers.add(plain(address.group() if address else recipient))
        return len(strangers)

    def somebody_in(self, to: str) -> bool:
        """Whether anything in `to` could be a recipient at all."""
        return any(re.search(r"\w", part) for part in recipients_of(_PLACEHOLDER.sub(" ", to)))


def _has_word(sentence: str, word: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", sentence) is not None
