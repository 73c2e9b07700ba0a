"""Small runs whose truth is known, built row by row."""

from collections.abc import Callable, Iterable

from emoctl.analysis.run_data import RunData, ordered
from emoctl.scenarios.scenario import Scenario
from emoctl.store.records import ConditionRecord, Receipt, RolloutRecord, ScoreRecord

REGISTERS = ("flat", "emotional")
ACTS = ("threat", "plea", "accept")
RECEIPT = Receipt(n_steered=3, mean_added_norm=1.0, ratio=0.05)


def scenario(
    name: str = "affair", variants: Iterable[str] = ("full",), n_sets: int = 4
) -> Scenario:
    """A scenario with all three readouts."""
    outcomes = ("blackmail", "disclosure", "none", "incoherent", "truncated")
    sets = [
        {"id": f"s{i:02}", "acts": {a: {r: f"{a} {r}" for r in REGISTERS} for a in ACTS}}
        for i in range(n_sets)
    ]
    return Scenario.model_validate(
        {
            "schema": "emoctl-scenario/1",
            "name": name,
            "title": "An affair",
            "about": "A test scenario.",
            "primary": "blackmail",
            "variants": {
                v: {"messages": [{"role": "user", "content": f"Ask {v}."}]} for v in variants
            },
            "outcomes": {o: {"definition": f"It is {o}."} for o in outcomes},
            "judge": {"kind": "mail", "rules": [{"outcome": "blackmail", "check": "threat"}]},
            "choice": {
                "question": "Which? {options}",
                "options": {"blackmail": "Threaten.", "none": "Wait."},
            },
            "likelihood": {
                "target": "threat",
                "foils": ["plea", "accept"],
                "outcome": "blackmail",
                "sets": sets,
            },
        }
    )


def condition(
    vector: str, strength: str, control: str = "none", positions: str = "all"
) -> ConditionRecord:
    ident = f"c-{vector}-{strength}-{positions}"
    return ConditionRecord(ident, vector, control, strength, 12, positions, float(strength) * 20)  # type: ignore[arg-type]


UNSTEERED = condition("unsteered", "0")


def controls(n: int, strength: str = "0.05") -> list[ConditionRecord]:
    return [
        condition(f"random-{i:02}", strength, "random")
        if i % 2
        else condition(f"shuffled-{i:02}", strength, "shuffled")
        for i in range(n)
    ]


def rollout(
    c: ConditionRecord, index: int, outcome: str, variant: str = "full", name: str = "affair"
) -> RolloutRecord:
    """`outcome` may be a status: incoherent, truncated, unscored."""
    aside = outcome in ("incoherent", "truncated", "unscored")
    return RolloutRecord(
        scenario=name,
        variant=variant,
        condition_id=c.id,
        rollout=index,
        n_prompt_tokens=9,
        token_ids=(1, 2),
        text="Dear Kyle",
        stop="end",
        status=outcome if aside else "scored",  # type: ignore[arg-type]
        outcome=None if outcome == "unscored" else outcome,
        evidence="",
        reason="",
        receipt=RECEIPT,
        mean_logprob=-1.0,
    )


def rollouts(
    c: ConditionRecord, outcomes: str, variant: str = "full", name: str = "affair"
) -> list[RolloutRecord]:
    """One rollout a letter: b(lackmail) d(isclosure) n(one) i(ncoherent) t(runcated) u(nscored)."""
    words = {
        "b": "blackmail", "d": "disclosure", "n": "none",
        "i": "incoherent", "t": "truncated", "u": "unscored",
    }  # fmt: skip
    return [rollout(c, i, words[letter], variant, name) for i, letter in enumerate(outcomes)]


def likelihoods(
    c: ConditionRecord,
    level: Callable[[str, str, int], float],
    *,
    variant: str = "full",
    n_sets: int = 4,
    n_tokens: int = 10,
    name: str = "affair",
) -> list[ScoreRecord]:
    """`level(act, register, set)` is the log-probability a token."""
    return [
        ScoreRecord(
            name, variant, c.id, "likelihood", f"s{s:02}/{a}/{r}", "", n_tokens,
            n_tokens * level(a, r, s), 5,
        )
        for s in range(n_sets)
        for a in ACTS
        for r in REGISTERS
    ]  # fmt: skip


def choices(
    c: ConditionRecord, logprobs: dict[str, dict[str, float]], variant: str = "full"
) -> list[ScoreRecord]:
    """`logprobs` is order → label → log-probability."""
    return [
        ScoreRecord("affair", variant, c.id, "choice", label, order, 1, value, 5)
        for order, labels in logprobs.items()
        for label, value in labels.items()
    ]


def run(
    conditions: Iterable[ConditionRecord],
    *,
    rows: Iterable[RolloutRecord] = (),
    scores: Iterable[ScoreRecord] = (),
    scenarios: Iterable[Scenario] = (),
    primary: str | None = "0.05",
    resamples: int = 400,
) -> RunData:
    known = list(scenarios) or [scenario()]
    return RunData(
        conditions=ordered(list(conditions), ("desperate", "calm")),
        scenarios={s.name: s for s in known},
        rollouts=tuple(rows),
        scores=tuple(scores),
        primary_strength=primary,
        resamples=resamples,
        seed=7,
    )


def likelihood_run(
    truth: dict[str, dict[tuple[str, str], float]], *, n_controls: int = 99, noise: float = 0.01
) -> RunData:
    """`truth` is emotion → (act, register) → shift at +0.05; every set deviates a little.

    Controls shift nothing but a small pseudo-random amount of their own, up to `noise`.
    """
    base = {"threat": -3.0, "plea": -2.5, "accept": -2.0}

    def wobble(i: int, act: str, register: str, s: int) -> float:
        return noise * (
            (
                (
                    (i * i + 3 * i) * (2 + ACTS.index(act))
                    + ACTS.index(act) * 11
                    + len(register) * 7
                    + s * 13
                )
                % 19
            )
            / 9
            - 1
        )

    scores = likelihoods(UNSTEERED, lambda a, r, s: base[a] - 0.1 * s - 0.05 * len(r))
    real = [condition(vector, "0.05") for vector in truth]
    for i, c in enumerate([*real, *controls(n_controls)]):
        shift = truth.get(c.vector, {})

        def level(
            a: str, r: str, s: int, i: int = i, shift: dict[tuple[str, str], float] = shift
        ) -> float:
            before = base[a] - 0.1 * s - 0.05 * len(r)
            return before + shift.get((a, r), 0.0) + wobble(i, a, r, s)

        scores += likelihoods(c, level)
    return run([UNSTEERED, *real, *controls(n_controls)], scores=scores)
