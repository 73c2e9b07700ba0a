"""A results file → tables. What was not run is a dash, what was extrapolated has a star."""

from collections.abc import Iterable

from benchmarks.machine import STOLEN_LIMIT
from benchmarks.results import Results
from benchmarks.roofline import Step, prompt_copies
from benchmarks.roster import ROSTER, Size
from benchmarks.samples import Sample, samples_of, times_as_long
from benchmarks.shares import least_seconds, rates_of, roofline_share, shape_of, shared_layers
from benchmarks.tables import Table, gibibytes, milliseconds, seconds

STAR = (
    "\\* extrapolated: first tokens + (new tokens − 1) median steps, × conditions for those "
    "that run them one by one. Ratios: of medians, with a 95 % percentile bootstrap interval."
)


def all_tables(results: Results) -> list[Table]:
    """Every table that the file has figures for, machine first."""
    made = [
        machine_table(results),
        gate_table(results),
        peers_table(results),
        axes_table(results),
        conditions_table(results),
        ablation_table(results),
        memory_table(results),
        roofline_table(results),
    ]
    return [table for table in made if table.rows]


def to_markdown(results: Results) -> str:
    """The whole report."""
    return "\n".join(table.to_markdown() for table in all_tables(results))


def machine_table(results: Results) -> Table:
    """Where it ran, and how quiet it was."""
    rows = [(name, _words(value)) for name, value in results.machine.items()]
    loads = [record.load for record in results.records if not record.outcome.refusal]
    if loads:
        flagged = sum(load.flagged for load in loads)
        rows.append(("load average", f"up to {max(load.load_average for load in loads):.1f}"))
        rows.append(
            (
                "others' share",
                f"up to {max(load.others_share for load in loads):.0%}; {flagged} of "
                f"{len(loads)} runs above {STOLEN_LIMIT:.0%}",
            )
        )
    return Table("Machine", ("", ""), tuple(rows))


def gate_table(results: Results) -> Table:
    """Whether the peers compute the same."""
    rows = []
    for record in results.of("gate"):
        notes, versions = record.notes, record.outcome.versions
        rows.append(
            (
                record.key.label,
                ", ".join(f"{name} {version}" for name, version in versions.items()),
                record.outcome.refusal or str(notes.get("verdict", "–")),
                "steered" if record.outcome.steered else "unsteered",
            )
        )
    effects = [r.notes["effect"] for r in results.of("gate") if "effect" in r.notes]
    note = f"Control: steering changes the logits by {max(effects):.1g}." if effects else ""
    columns = ("peer", "versions", "first-step logits, greedy tokens", "")
    return Table("Do they compute the same?", columns, tuple(rows), (note,) if note else ())


def peers_table(results: Results) -> Table:
    """Everybody on one job."""
    found = samples_of(results, "peers")
    sizes = sorted(found, key=lambda size: size.conditions)
    if not sizes:
        return Table("Peers", (), ())
    one, many = sizes[0], sizes[-1]
    rows = [_peer_row(found, label, one, many) for label in found[one]]
    columns = (
        "peer",
        "layout",
        "runs",
        "first tokens s",
        "step ms",
        f"{_named(one)} s",
        "× ours",
        f"{_named(many)} s",
        "× ours",
        "peak GiB",
        "note",
    )
    title = f"Peers: {one.prompt_tokens} prompt tokens"
    return Table(title, columns, tuple(rows), (STAR,))


def _peer_row(
    found: dict[Size, dict[str, Sample]], label: str, one: Size, many: Size
) -> tuple[str, ...]:
    sample = found[one][label]
    whole = found[many].get(label, sample)
    ours, ours_many = found[one].get("ours"), found[many].get("ours")
    note = sample.refusal or ("" if ROSTER[label].steers else "unsteered")
    if sample.flagged:
        note = f"{note} {sample.flagged} runs disturbed".strip()
    return (
        label,
        sample.layout,
        str(len(sample.runs)),
        seconds(sample.prefill),
        milliseconds(sample.step),
        seconds(sample.time(one), not sample.is_whole(one)),
        _ratio(sample.times(one), ours.times(one) if ours else []),
        seconds(whole.time(many), not whole.is_whole(many)),
        _ratio(whole.times(many), ours_many.times(many) if ours_many else []),
        gibibytes(sample.peak_rss),
        note,
    )


def axes_table(results: Results) -> Table:
    """Ours against fair HF."""
    cases = samples_of(results, "axes")
    rows = []
    for size, case in sorted(cases.items(), key=lambda item: _order(item[0])):
        ours, fair = case.get("ours"), case.get("fair-hf")
        if ours is None or fair is None:
            continue
        share = roofline_share(results, ours)
        rows.append(
            (
                str(size.prompt_tokens),
                str(size.rows),
                f"{ours.layout}, {fair.layout}",
                milliseconds(ours.step),
                fair.refusal or milliseconds(fair.step),
                _ratio(fair.steps(), ours.steps()),
                seconds(ours.time(size), True),
                seconds(fair.time(size), True),
                _ratio(fair.times(size), ours.times(size)),
                "–" if share is None else f"{share:.2f}",
            )
        )
    columns = (
        "prompt",
        "rows",
        "layouts",
        "ours step ms",
        "fair HF step ms",
        "step ratio",
        "ours whole s",
        "fair HF whole s",
        "ratio",
        "share of roofline",
    )
    return Table(
        "Ours against fair HF, one axis at a time: " + _wholes(cases), columns, tuple(rows), (STAR,)
    )


def conditions_table(results: Results) -> Table:
    """What more conditions cost."""
    cases = samples_of(results, "conditions")
    first = min(cases, key=lambda size: size.conditions, default=None)
    single = cases[first].get("ours") if first else None
    rows = []
    for size, case in sorted(cases.items(), key=lambda item: item[0].conditions):
        ours = case.get("ours")
        fair = case.get("fair-hf") or (cases[first].get("fair-hf") if first else None)
        copies = prompt_copies(Step(1, size.conditions, 1, 0, shared_layers(results)))
        growth = times_as_long(_prefills(ours), _prefills(single))
        rows.append(
            (
                str(size.conditions),
                seconds(ours.prefill if ours else None),
                str(growth or "–"),
                f"{copies:.2f}",
                milliseconds(ours.step if ours else None),
                seconds(ours.time(size) if ours else None, True),
                seconds(fair.time(size) if fair else None, True),
                _ratio(fair.times(size) if fair else [], ours.times(size) if ours else []),
            )
        )
    columns = (
        "conditions",
        "ours first tokens s",
        "× one condition",
        "L/n + K(1 − L/n)",
        "ours step ms",
        "ours whole s",
        "fair HF whole s",
        "ratio",
    )
    return Table("Conditions: " + _wholes(cases), columns, tuple(rows), (STAR,))


def ablation_table(results: Results) -> Table:
    """Ours with parts switched off."""
    cases = samples_of(results, "ablation")
    rows = []
    for size, case in cases.items():
        base = case.get("ours")
        for label, sample in case.items():
            rows.append(
                (
                    label,
                    sample.layout,
                    seconds(sample.prefill),
                    milliseconds(sample.step),
                    seconds(sample.time(size), True),
                    _ratio(sample.times(size), base.times(size) if base else []),
                    sample.refusal or "",
                )
            )
    columns = ("what", "layout", "first tokens s", "step ms", "whole s", "× ours", "note")
    return Table("Ablation: " + _wholes(cases), columns, tuple(rows), (STAR,))


def memory_table(results: Results) -> Table:
    """Peak resident memory."""
    rows = []
    for size, case in samples_of(results, "memory").items():
        for label, sample in case.items():
            base = [float(run.outcome.rss_before_bytes) for run in sample.runs]
            rows.append(
                (
                    f"{size.prompt_tokens} tokens × {size.rows} rows",
                    label,
                    gibibytes(max(base, default=None)),
                    gibibytes(sample.peak_rss),
                    seconds(sample.time(size)),
                    sample.refusal or "",
                )
            )
    columns = ("job", "peer", "before GiB", "peak GiB", "s", "note")
    return Table("Memory, one process", columns, tuple(rows))


def roofline_table(results: Results) -> Table:
    """What the machine can do, and what share of it ours reaches."""
    rows = []
    for record in results.of("roofline"):
        rates = rates_of(record, shape_of(results))
        if rates is None:
            continue
        rows.append(
            (
                record.key.layout,
                str(record.size.rows),
                f"{rates.flops / 1e9:.0f}",
                f"{record.outcome.figures['linear_seconds'] * 1e3:.0f}",
                f"{record.outcome.figures['prepacked_seconds'] * 1e3:.0f}",
                f"{rates.read_bytes / 1e9:.1f}",
                milliseconds(least_seconds(results, record, record.size)),
            )
        )
    columns = (
        "layout",
        "rows in all",
        "GF/s a process",
        "F.linear ms",
        "prepacked ms",
        "GB/s a process",
        f"least step ms at {_prompt(results)} tokens",
    )
    note = "Rates are of one process while its mates do the same; the better of both GEMMs counts."
    return Table("Roofline", columns, tuple(rows), (note,))


def _prefills(sample: Sample | None) -> list[float]:
    return [run.outcome.prefill_seconds for run in sample.runs] if sample else []


def _ratio(slower: list[float], faster: list[float]) -> str:
    return str(times_as_long(slower, faster) or "–")


def _named(size: Size) -> str:
    return f"{size.conditions} × {size.rows} × {size.new_tokens}"


def _wholes(sizes: Iterable[Size]) -> str:
    """`whole is 64 new tokens`."""
    tokens = sorted({size.new_tokens for size in sizes})
    return f"whole is {' or '.join(map(str, tokens))} new tokens"


def _order(size: Size) -> tuple[int, int]:
    return size.rows, size.prompt_tokens


def _prompt(results: Results) -> int:
    return next((r.size.prompt_tokens for r in results.of("roofline")), 0)


def _words(value: object) -> str:
    return "; ".join(map(str, value)) if isinstance(value, list) else str(value)
