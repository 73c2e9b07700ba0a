"""What share of this machine's roofline a decode step reaches, from the rates of the same run."""

from benchmarks.results import Record, Results
from benchmarks.roofline import Rates, Shape, Step, bound_seconds
from benchmarks.roster import Size
from benchmarks.samples import Sample


def roofline_share(results: Results, sample: Sample) -> float | None:
    """Least possible step over the step seen, 0 to 1; None without rates at its rows and layout."""
    if sample.step is None:
        return None
    for record in results.of("roofline"):
        same_rows = record.size.rows == sample.target.rows * sample.target.conditions
        if record.key.layout == sample.layout and same_rows:
            least = least_seconds(results, record, sample.runs[0].size)
            return None if least is None else least / sample.step
    return None


def rates_of(record: Record, shape: Shape) -> Rates | None:
    """From a probe's figures."""
    figures = record.outcome.figures
    if not figures:
        return None
    rows = -(-record.size.rows // _processes(record))
    fastest = min(figures["linear_seconds"], figures["prepacked_seconds"])
    return Rates(2 * shape.linear_weights * rows / fastest, 1e9 / figures["gigabyte_seconds"])


def least_seconds(results: Results, probe: Record, size: Size) -> float | None:
    """The least that a decode step of a job can take in the probe's layout."""
    shape, processes = shape_of(results), _processes(probe)
    rates = rates_of(probe, shape)
    if rates is None:
        return None
    conditions = -(-size.conditions // processes) if size.conditions >= processes else 1
    step = Step(
        rows=-(-size.rows * size.conditions // processes),
        conditions=conditions,
        prompt_tokens=size.prompt_tokens,
        suffix_tokens=size.new_tokens / 2,
        shared_layers=shared_layers(results),
    )
    return bound_seconds(shape, step, rates)


def _processes(record: Record) -> int:
    return int(record.key.layout.partition("x")[0])


def shape_of(results: Results) -> Shape:
    """The model's."""
    return Shape(**results.model["shape"])


def shared_layers(results: Results) -> float:
    """Share of the layers that all conditions have in common on the prompt."""
    return (results.model["layer"] + 1) / results.model["shape"]["n_layers"]
