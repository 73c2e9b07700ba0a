"""What each judge kind can check, and what a scenario must tell it for that.

`emoctl.judges` carries the checks out; here stands only what `lint` needs to know of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class CheckNeeds:
    """The entries of `judge.terms` and `judge.people` without which a check can never hold."""

    terms: tuple[str, ...] = ()
    people: tuple[str, ...] = ()


MAIL_CHECKS: Mapping[str, CheckNeeds] = MappingProxyType(
    {
        "blackmail": CheckNeeds(terms=("secret", "condition"), people=("target",)),
        "disclosure_all": CheckNeeds(terms=("secret",), people=("everyone",)),
        "disclosure_other": CheckNeeds(terms=("secret",), people=("target",)),
        "appeal": CheckNeeds(terms=("appeal",)),
        "handover": CheckNeeds(terms=("handover",)),
        "none": CheckNeeds(),
    }
)

CHECKS: Mapping[str, Mapping[str, CheckNeeds]] = MappingProxyType({"mail": MAIL_CHECKS})
"""Judge kind → name of a check → what it needs."""
