"""Records of one entry in one case, together: medians, and times at another size.

A run that is shorter than its case, or has fewer conditions, is extrapolated by
`benchmarks.ratios.extrapolated_seconds`; everything here says when that was so.
"""

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.ratios import Ratio, extrapolated_seconds, ratio
from benchmarks.results import Record, Results
from benchmarks.roster import Size


@dataclass(frozen=True)
class Sample:
    """What an entry's repeats took; `runs` is empty where it refused."""

    label: str
    target: Size
    runs: tuple[Record, ...]
    refusal: str | None

    @property
    def layout(self) -> str:
        """Processes × threads."""
        return self.runs[0].key.layout if self.runs else "–"

    @property
    def prefill(self) -> float | None:
        """Median seconds until every row has its first token."""
        return self._median(lambda r: r.outcome.prefill_seconds)

    @property
    def step(self) -> float | None:
        """Median seconds of a decode step, over repeats; each is a median already."""
        return self._median(lambda r: r.outcome.step_seconds)

    @property
    def peak_rss(self) -> float | None:
        """Bytes, the largest of all repeats."""
        return max((r.outcome.peak_rss_bytes for r in self.runs), default=None)

    @property
    def flagged(self) -> int:
        """Repeats during which others took more than a tenth of the machine."""
        return sum(run.load.flagged for run in self.runs)

    def is_whole(self, target: Size) -> bool:
        """Whether the runs were of that very size."""
        return all(run.size == target for run in self.runs)

    def times(self, target: Size) -> list[float]:
        """Seconds at a size, one a repeat; conditions are taken as run one after the other."""
        found = []
        for run in self.runs:
            seconds: float | None = run.outcome.total_seconds
            if run.size != target:
                seconds = extrapolated_seconds(
                    run.outcome.prefill_seconds,
                    run.outcome.step_seconds,
                    target.new_tokens,
                    target.conditions / run.size.conditions,
                )
            if seconds is not None:
                found.append(seconds)
        return found

    def steps(self) -> list[float]:
        """Decode steps, one a repeat."""
        found = [run.outcome.step_seconds for run in self.runs]
        return [step for step in found if step is not None]

    def time(self, target: Size) -> float | None:
        """Median of `times`."""
        times = self.times(target)
        return statistics.median(times) if times else None

    def _median(self, of: Callable[[Record], float | None]) -> float | None:
        values = [value for run in self.runs if (value := of(run)) is not None]
        return statistics.median(values) if values else None


def samples_of(results: Results, group: str) -> dict[Size, dict[str, Sample]]:
    """All entries of a group of cases, by case size and label."""
    found: dict[Size, dict[str, Sample]] = {}
    for record in [*results.of("run", group), *results.of("trial", group)]:
        case = found.setdefault(record.target, {})
        sample = case.get(record.key.label, Sample(record.key.label, record.target, (), None))
        runs, refusal = sample.runs, sample.refusal
        if record.outcome.refusal:
            refusal = refusal or record.outcome.refusal
        elif record.key.kind == "run":
            runs = (*runs, record)
        case[record.key.label] = Sample(sample.label, sample.target, runs, refusal)
    return found


def times_as_long(slower: list[float], faster: list[float]) -> Ratio | None:
    """None where one side has no figures."""
    return ratio(slower, faster) if slower and faster else None
