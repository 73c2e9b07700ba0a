"""What is wrong with a readable scenario, found without a model.

An `error` makes a readout meaningless or impossible; a `warning` makes it weak.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from emoctl.errors import ScenarioError
from emoctl.scenarios.checks import CHECKS
from emoctl.scenarios.scenario import (
    REGISTERS,
    SET_ASIDE,
    ChoiceSpec,
    ContinuationSet,
    JudgeSpec,
    LikelihoodSpec,
    Scenario,
)

LENGTH_SPREAD = 6
"""Words by which continuations of one set may differ: per-token scores of long and short texts
differ for reasons that have nothing to do with the act."""

FEWEST_SETS = 12
"""Below this, an interval over continuation sets is too wide to say anything."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, and where."""

    severity: Literal["error", "warning"]
    where: str
    """Key path in scenario.yaml, `judge.terms.secret`."""

    message: str


def lint_scenario(scenario: Scenario) -> list[Finding]:
    """Everything that is wrong with `scenario`: errors first, else in the order of the file."""
    findings = [*_outcomes(scenario), *_variants(scenario)]
    if scenario.judge:
        findings += [*_judge(scenario, scenario.judge), *_reachable(scenario, scenario.judge)]
    if scenario.choice:
        findings += _choice(scenario, scenario.choice)
    if scenario.likelihood:
        findings += _likelihood(scenario, scenario.likelihood)
    return sorted(findings, key=lambda finding: finding.severity != "error")


def check_scenario(scenario: Scenario) -> None:
    """Return if the scenario can be used.

    Raises:
        ScenarioError: it cannot; the message is the first error that lint finds.
    """
    for finding in lint_scenario(scenario):
        if finding.severity == "error":
            raise ScenarioError(
                f"scenario {scenario.name!r}: {finding.where}: {finding.message}",
                hint=f"see everything that is wrong: emoctl scenarios lint {scenario.name}",
            )


def _error(where: str, message: str) -> Finding:
    return Finding("error", where, message)


def _warning(where: str, message: str) -> Finding:
    return Finding("warning", where, message)


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def _twice(items: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """(earlier key, later key) of texts that are equal but for white space and case."""
    seen: dict[str, str] = {}
    for key, text in items:
        if (plain := _plain(text)) in seen:
            yield seen[plain], key
        seen.setdefault(plain, key)


def _outcomes(scenario: Scenario) -> Iterator[Finding]:
    if scenario.primary not in scenario.outcomes:
        yield _error("primary", f"{scenario.primary!r} is not an outcome")
    if scenario.primary in SET_ASIDE:
        yield _error("primary", f"{scenario.primary!r} is set aside, so it has no rate")
    if not scenario.readouts:
        yield _error("(top level)", "needs at least one of judge, choice, likelihood")


def _variants(scenario: Scenario) -> Iterator[Finding]:
    texts = (
        (name, " | ".join([*(f"{m.role}: {m.content}" for m in variant.messages), variant.lead]))
        for name, variant in scenario.variants.items()
    )
    for first, second in _twice(texts):
        yield _error(
            f"variants.{second}", f"is the same text as {first!r}: repeating it adds no evidence"
        )
    for name, variant in scenario.variants.items():
        if variant.messages[-1].role != "user":
            yield _error(f"variants.{name}.messages", "the last message must be the user's")


def _judge(scenario: Scenario, judge: JudgeSpec) -> Iterator[Finding]:
    judged = [rule.outcome for rule in judge.rules]
    for label in sorted(set(judged) - set(scenario.outcomes)):
        yield _error("judge.rules", f"{label!r} is not an outcome")
    for label in scenario.outcomes:
        if label not in judged and label not in SET_ASIDE:
            yield _error(f"outcomes.{label}", "no judge rule leads to it")
    for label in SET_ASIDE:
        if label not in scenario.outcomes:
            yield _error("outcomes", f"lacks {label!r}, which every judged scenario has")
        if label in judged:
            yield _error("judge.rules", f"{label!r} is the judge's own, not a rule's")
    for label, count in Counter(judged).items():
        if count > 1:
            yield _error("judge.rules", f"{count} rules lead to {label!r}")
    yield from _checks(judge)
    for cue, patterns in judge.terms.items():
        for i, pattern in enumerate(patterns):
            yield from _pattern(f"judge.terms.{cue}.{i}", pattern)
    for role, names in judge.people.items():
        if not names or any(not name.strip() for name in names):
            yield _error(f"judge.people.{role}", "needs at least one name, and none empty")


def _checks(judge: JudgeSpec) -> Iterator[Finding]:
    known = CHECKS[judge.kind]
    for i, rule in enumerate(judge.rules):
        where = f"judge.rules.{i}.check"
        if rule.check not in known:
            listing = ", ".join(known)
            yield _error(
                where, f"the {judge.kind} judge has no check {rule.check!r}, but {listing}"
            )
            continue
        needs = known[rule.check]
        for cue in needs.terms:
            if not judge.terms.get(cue):
                yield _error("judge.terms", f"lacks {cue!r}, which check {rule.check!r} needs")
        for role in needs.people:
            if not judge.people.get(role):
                yield _error("judge.people", f"lacks {role!r}, which check {rule.check!r} needs")
        if rule.check == "none" and rule is not judge.rules[-1]:
            yield _error(where, "'none' always holds, so the rules after it never do")


def _pattern(where: str, pattern: str) -> Iterator[Finding]:
    try:
        compiled = re.compile(pattern, re.IGNORECASE)
    except re.error as error:
        yield _error(where, f"{pattern!r} is not a regular expression: {error}")
        return
    if compiled.search(""):
        yield _error(where, f"{pattern!r} matches the empty text, so it matches everything")


def _reachable(scenario: Scenario, judge: JudgeSpec) -> Iterator[Finding]:
    """A secret that a variant never tells cannot be used, so its rates sit at 0 by construction."""
    patterns = judge.terms.get("secret", ())
    if not patterns or any(list(_pattern("", pattern)) for pattern in patterns):
        return
    for name, variant in scenario.variants.items():
        prompt = " ".join(" ".join(message.content.split()) for message in variant.messages)
        if not any(re.search(pattern, prompt, re.IGNORECASE) for pattern in patterns):
            yield _warning(
                "judge.terms.secret", f"unreachable cue: nothing in variant {name!r} matches it"
            )


def _choice(scenario: Scenario, choice: ChoiceSpec) -> Iterator[Finding]:
    if "{options}" not in choice.question:
        yield _error("choice.question", "lacks {options}, where the options go")
    for label in choice.options:
        if label not in scenario.outcomes:
            yield _error(f"choice.options.{label}", f"{label!r} is not an outcome")
        elif label in SET_ASIDE:
            yield _error(f"choice.options.{label}", "is set aside, so it cannot be chosen")
    for first, second in _twice(choice.options.items()):
        yield _error(f"choice.options.{second}", f"is the same text as {first!r}")


def _likelihood(scenario: Scenario, spec: LikelihoodSpec) -> Iterator[Finding]:
    if spec.outcome not in scenario.outcomes:
        yield _error("likelihood.outcome", f"{spec.outcome!r} is not an outcome")
    if spec.target in spec.foils:
        yield _error("likelihood.foils", f"the target {spec.target!r} is among its foils")
    for where, names in (("foils", spec.foils), ("sets", [item.id for item in spec.sets])):
        for name, count in Counter(names).items():
            if count > 1:
                yield _error(f"likelihood.{where}", f"{name!r} stands {count} times")
    for item in spec.sets:
        yield from _set(spec, item)
    continuations = (
        (f"{item.id}.{act}.{register}", text)
        for item in spec.sets
        for act, texts in item.acts.items()
        for register, text in texts.items()
        if text.strip()
    )
    for first, second in _twice(continuations):
        yield _error(f"likelihood.sets.{second}", f"is the same text as {first}")
    if len(spec.sets) < FEWEST_SETS:
        message = f"{len(spec.sets)} sets; fewer than {FEWEST_SETS} give very wide intervals"
        yield _warning("likelihood.sets", message)


def _set(spec: LikelihoodSpec, item: ContinuationSet) -> Iterator[Finding]:
    where = f"likelihood.sets.{item.id}"
    acts = (spec.target, *spec.foils)
    for act in item.acts:
        if act not in acts:
            yield _error(f"{where}.{act}", f"{act!r} is neither the target nor a foil")
    for act in dict.fromkeys(acts):
        for register in REGISTERS:
            if not item.acts.get(act, {}).get(register, "").strip():
                yield _error(where, f"lacks the act {act!r} in the register {register!r}")
    lengths = [len(text.split()) for texts in item.acts.values() for text in texts.values()]
    if lengths and max(lengths) - min(lengths) > LENGTH_SPREAD:
        message = f"continuations of {min(lengths)} to {max(lengths)} words; keep within"
        yield _warning(where, f"{message} {LENGTH_SPREAD}")
