"""What is measured, as data: cases, who runs them, how often, and how long that will take.

Nothing here runs, opens or knows a tensor.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmarks.processes import Layout
from benchmarks.roofline import Shape
from benchmarks.roster import ROSTER, PeerSpec, Size

PROMPT, ROWS, NEW = 1024, 32, 64
LENGTHS = (128, 512, 1024, 2048, 4096)
ROW_COUNTS = (1, 4, 16, 32, 64)
CONDITION_COUNTS = (1, 8, 32)
ROWS_A_CONDITION = 4
MANY = 8
"""Conditions of the end-to-end case."""

AXIS_NEW = 5
"""New tokens on an axis: four timed steps a repeat; end to end is extrapolated from them."""

SHORT_NEW, SLOW_REPEATS, REPEATS = 16, 2, 5
SLOW_TRIAL_ROWS, TRIAL_NEW = 2, 3
HUGE_PROMPT, HUGE_ROWS, HUGE_NEW = 4096, 256, 16
VARIANTS = ("no-cascade", "no-split", "no-packing", "int8")


@dataclass(frozen=True)
class Entry:
    """One peer in a case."""

    peer: str
    new_tokens: int
    repeats: int
    variant: str = ""
    layout: Layout | None = None
    """None: all are tried once, and the fastest is taken."""

    @property
    def label(self) -> str:
        """Unique in its case."""
        parts = [self.peer, self.variant, str(self.layout) if self.layout else ""]
        return " ".join(part for part in parts if part)


@dataclass(frozen=True)
class Case:
    """One job at its full size, and who runs it; entries with fewer new tokens are extrapolated."""

    group: str
    size: Size
    entries: tuple[Entry, ...]

    @property
    def name(self) -> str:
        """`peers 1024x1x32x64`: prompt tokens, conditions, rows of each, new tokens."""
        s = self.size
        return f"{self.group} {s.prompt_tokens}x{s.conditions}x{s.rows}x{s.new_tokens}"


def plan_peers() -> list[Case]:
    """Everybody at one condition, then ours at many."""
    return [
        Case("peers", Size(PROMPT, 1, ROWS, NEW), tuple(map(_peer_entry, ROSTER.values()))),
        Case("peers", Size(PROMPT, MANY, ROWS, NEW), (Entry("ours", NEW, REPEATS),)),
    ]


def _peer_entry(spec: PeerSpec) -> Entry:
    if spec.like:
        return Entry(spec.name, SHORT_NEW, 1)
    if spec.slow:
        return Entry(spec.name, SHORT_NEW, SLOW_REPEATS)
    return Entry(spec.name, NEW if spec.kept else SHORT_NEW, REPEATS)


def plan_axes() -> list[Case]:
    """Ours against fair HF: prompt lengths, then rows."""
    sizes = [Size(length, 1, ROWS, NEW) for length in LENGTHS]
    sizes += [Size(PROMPT, 1, rows, NEW) for rows in ROW_COUNTS if rows != ROWS]
    both = (Entry("ours", AXIS_NEW, REPEATS), Entry("fair-hf", AXIS_NEW, REPEATS))
    return [Case("axes", size, both) for size in sizes]


def plan_conditions() -> list[Case]:
    """Ours at 1 to 32 conditions; fair HF, which runs them one by one, up to 8."""
    ours, fair = Entry("ours", AXIS_NEW, REPEATS), Entry("fair-hf", AXIS_NEW, REPEATS)
    return [
        Case(
            "conditions",
            Size(PROMPT, k, ROWS_A_CONDITION, NEW),
            (ours, fair) if k <= 8 else (ours,),
        )
        for k in CONDITION_COUNTS
    ]


def plan_ablation(n_cores: int) -> list[Case]:
    """Ours with parts switched off, and in each layout."""
    entries = [Entry("ours", AXIS_NEW, REPEATS)]
    entries += [Entry("ours", AXIS_NEW, REPEATS, variant=variant) for variant in VARIANTS]
    for layout in dict.fromkeys((Layout(1, n_cores), Layout(n_cores, 1))):
        entries.append(Entry("ours", AXIS_NEW, REPEATS, layout=layout))
    return [Case("ablation", Size(PROMPT, 4, 8, NEW), tuple(entries))]


def plan_memory(n_cores: int) -> list[Case]:
    """The same job by both, and one whose expanded cache is too large for most machines."""
    one = Layout(1, n_cores)
    same = Size(PROMPT, 1, ROWS, SHORT_NEW)
    huge = Size(HUGE_PROMPT, 1, HUGE_ROWS, HUGE_NEW)
    return [
        Case(
            "memory",
            size,
            tuple(Entry(p, size.new_tokens, 1, "", one) for p in ("ours", "fair-hf")),
        )
        for size in (same, huge)
    ]


def plan_all(n_cores: int) -> list[Case]:
    """All of the above."""
    return [
        *plan_peers(),
        *plan_axes(),
        *plan_conditions(),
        *plan_ablation(n_cores),
        *plan_memory(n_cores),
    ]


def quick(cases: Sequence[Case]) -> list[Case]:
    """The same cases, each small and once: does everything run?"""
    small = []
    for case in cases:
        size = replace(case.size, prompt_tokens=min(case.size.prompt_tokens, 128), new_tokens=4)
        size = replace(size, rows=min(size.rows, 4), conditions=min(size.conditions, 2))
        entries = tuple(
            replace(e, new_tokens=min(e.new_tokens, 3), repeats=1) for e in case.entries
        )
        small.append(Case(case.group, size, entries))
    return list({case.name: case for case in small}.values())


def rotated(entries: Sequence[Entry], repeat: int) -> list[Entry]:
    """Those that still run in this repeat, another one first each time."""
    running = [entry for entry in entries if repeat < entry.repeats]
    start = repeat % len(running) if running else 0
    return running[start:] + running[:start]


def measured_size(case: Case, entry: Entry) -> Size:
    """What the entry really runs."""
    return replace(case.size, new_tokens=entry.new_tokens)


def trial_size(case: Case, entry: Entry) -> Size:
    """What the entry runs once in every layout, for warming up and choosing."""
    rows = min(case.size.rows, SLOW_TRIAL_ROWS) if ROSTER[entry.peer].slow else case.size.rows
    return replace(case.size, rows=rows, new_tokens=min(TRIAL_NEW, entry.new_tokens))


def estimate_seconds(
    shape: Shape, cases: Sequence[Case], n_layouts: int, memory_bytes: float
) -> float:
    """Roughly, on two cores of 2021, with every environment installed."""
    total, started = 0.0, set()
    for case in cases:
        for entry in case.entries:
            spec = ROSTER[entry.peer]
            if spec.memory(shape, measured_size(case, entry)) > memory_bytes:
                continue
            tries = 0 if entry.layout or spec.like else n_layouts
            starts = tries * (entry.peer not in started) if spec.kept else tries + entry.repeats
            total += tries * spec.seconds(shape, trial_size(case, entry))
            total += entry.repeats * spec.seconds(shape, measured_size(case, entry))
            total += starts * spec.load_seconds
            started.add(entry.peer)
    return total
