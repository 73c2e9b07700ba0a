"""Running a plan: gate, layouts, repeats in rotation; each measurement is kept once it is made.

    case ─▶ each entry once in every layout (warm-up; the fastest layout stays)
         ─▶ repeat 0, 1, …: every entry in turn, another one first each time

What a peer is, and what is made of the figures, is not known here.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from benchmarks.environments import OWN, Environment
from benchmarks.gate import GATE, gate_job, judge
from benchmarks.job import Job, Outcome
from benchmarks.jobs import Subject, make_job
from benchmarks.machine import Load, available_bytes
from benchmarks.plan import (
    NEW,
    PROMPT,
    ROW_COUNTS,
    Case,
    Entry,
    measured_size,
    rotated,
    trial_size,
)
from benchmarks.processes import Layout, Peer, layouts, module_of
from benchmarks.ratios import extrapolated_seconds
from benchmarks.results import Key, Kind, Record, Results
from benchmarks.roster import ROSTER, PeerSpec, Size

TIME_LIMIT = 900.0
"""Seconds that one run of one job may take."""

SPARE = 0.9
"""Share of the available memory that a job may plan to use."""


@dataclass
class Campaign:
    """A benchmark in progress."""

    subject: Subject
    results: Results
    n_cores: int
    tell: Callable[[str], None]
    running: dict[tuple[str, Layout], Peer] = field(default_factory=dict)

    def close(self) -> None:
        """End all peers."""
        for peer in self.running.values():
            peer.close()
        self.running.clear()

    def run(self, cases: Sequence[Case]) -> None:
        """Measure everything that is not measured yet."""
        for case in cases:
            chosen: dict[str, Layout | None] = {}
            if case.group == "memory":  # a fresh process has no memory of earlier jobs
                self.close()
            for entry in case.entries:
                like = ROSTER[entry.peer].like
                chosen[entry.label] = chosen.get(like) or self._choose_layout(case, entry)
            entries = [entry for entry in case.entries if chosen[entry.label] is not None]
            for repeat in range(max((entry.repeats for entry in entries), default=0)):
                for entry in rotated(entries, repeat):
                    layout = chosen[entry.label]
                    assert layout is not None
                    self._measure("run", case, entry, layout, repeat)

    def probe(self) -> None:
        """This machine's rates at every row count, in both layouts."""
        for layout in layouts(self.n_cores):
            with Peer(module_of("probe"), OWN, layout) as peer:
                for rows in ROW_COUNTS:
                    self._probe_one(peer, layout, rows)

    def _probe_one(self, peer: Peer, layout: Layout, rows: int) -> None:
        size = Size(PROMPT, 1, rows, NEW)
        job = make_job(self.subject, size)
        key = Key("roofline", f"roofline {rows}", "probe", str(layout), 0, job.digest)
        if layout.processes > rows or self.results.find(key):
            return
        outcome, load = peer.ask(job, TIME_LIMIT)
        self.results.add(Record(key, size, size, outcome, load))
        seconds = {name: f"{value * 1e3:.1f} ms" for name, value in outcome.figures.items()}
        self.tell(f"roofline {rows} rows {layout}: {outcome.refusal or seconds}")

    def check(self, peers: Sequence[str]) -> dict[str, bool]:
        """Whether each peer's logits and tokens are the reference's; a peer that refuses is let
        through, since it will say so again."""
        job = gate_job(self.subject)
        reference: Outcome | None = None
        passed = {}
        for name in peers:
            key = Key("gate", "gate", name, "1x1", 0, job.digest)
            found = self.results.find(key)
            if found is None:
                reference = reference or self._once(module_of("plain"), OWN, job)[0]
                found = self.results.add(self._judged(key, job, reference))
            passed[name] = bool(found.outcome.refusal) or bool(found.notes.get("passed"))
            self.tell(f"gate {name}: {found.outcome.refusal or found.notes['verdict']}")
        return passed

    def _judged(self, key: Key, job: Job, reference: Outcome) -> Record:
        spec = ROSTER[key.label]
        outcome, load = self._once(spec.module, spec.environment, job)
        notes: dict[str, Any] = {}
        if reference.refusal:
            outcome = Outcome(refusal=f"no reference: {reference.refusal}")
        elif outcome.refusal is None:
            verdict = judge(job, reference, outcome)
            notes = {**asdict(verdict), "verdict": str(verdict)}
        return Record(key, GATE, GATE, outcome, load, notes)

    def _once(self, module: str, environment: Environment, job: Job) -> tuple[Outcome, Load]:
        small = replace(job, new_tokens=1, rows=1, keep_outputs=False)
        with Peer(module, environment, Layout(1, 1)) as peer:
            return peer.ask(job, TIME_LIMIT, small)

    def _choose_layout(self, case: Case, entry: Entry) -> Layout | None:
        """The fastest, by a short run in each; None if the peer refuses in all."""
        if entry.layout:
            return entry.layout
        tried = layouts(self.n_cores)
        seconds: dict[Layout, float] = {}
        for layout in tried:
            if layout.processes <= max(case.size.rows, case.size.conditions):
                outcome = self._measure("trial", case, entry, layout, 0).outcome
                if outcome.refusal is None:
                    seconds[layout] = _expected(outcome, case.size.new_tokens)
        best = min(seconds, key=lambda layout: seconds[layout], default=None)
        for layout in tried:
            if layout != best:
                self._release(entry.peer, layout)
        return best

    def _measure(self, kind: Kind, case: Case, entry: Entry, layout: Layout, repeat: int) -> Record:
        size = trial_size(case, entry) if kind == "trial" else measured_size(case, entry)
        job = make_job(self.subject, size, entry.variant)
        key = Key(kind, case.name, entry.label, str(layout), repeat, job.digest)
        found = self.results.find(key)
        if found is not None:
            return found
        spec = ROSTER[entry.peer]
        outcome, load = self._ask(spec, layout, job, measured_size(case, entry))
        if not spec.kept:
            self._release(entry.peer, layout)
        self.tell(_sentence(key, outcome, load))
        return self.results.add(Record(key, size, case.size, outcome, load))

    def _ask(self, spec: PeerSpec, layout: Layout, job: Job, full: Size) -> tuple[Outcome, Load]:
        needed = spec.memory(self.subject.shape, full)
        if needed > SPARE * available_bytes():
            self.close()
        free = available_bytes()
        if needed > SPARE * free:
            words = f"does not fit: needs {needed / 2**30:.0f} GiB, {free / 2**30:.0f} are free"
            return Outcome(refusal=words), Load(0.0, 0.0)
        peer = self.running.get((spec.name, layout))
        if peer is None:
            peer = Peer(spec.module, spec.environment, layout)
            self.running[spec.name, layout] = peer
        warm_up = replace(
            job, token_ids=job.token_ids[:16], conditions=job.conditions[:1], rows=2, new_tokens=2
        )
        return peer.ask(job, TIME_LIMIT, warm_up)

    def _release(self, name: str, layout: Layout) -> None:
        peer = self.running.pop((name, layout), None)
        if peer is not None:
            peer.close()


def _expected(outcome: Outcome, new_tokens: int) -> float:
    """What a trial says of the whole job."""
    whole = extrapolated_seconds(outcome.prefill_seconds, outcome.step_seconds, new_tokens)
    return outcome.total_seconds if whole is None else whole


def _sentence(key: Key, outcome: Outcome, load: Load) -> str:
    what = f"{key.case}  {key.label} {key.layout}  {key.kind} {key.repeat}:"
    if outcome.refusal:
        return f"{what} {outcome.refusal}"
    step = "" if outcome.step_seconds is None else f", step {outcome.step_seconds * 1e3:.0f} ms"
    flag = f"  [others used {load.others_share:.0%}]" if load.flagged else ""
    return f"{what} {outcome.total_seconds:.2f} s{step}{flag}"
