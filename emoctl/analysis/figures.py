"""Numbers as people read them. What is not known reads `n/a`, never 0."""

from math import isfinite

UNKNOWN = "n/a"


def share(value: float) -> str:
    """A rate or probability, two decimals, no leading zero: `.15`, `1.00`."""
    return f"{value:.2f}".removeprefix("0") if isfinite(value) else UNKNOWN


def signed(value: float, digits: int = 3) -> str:
    """A difference, sign first: `+0.081`; what rounds to nothing has no sign."""
    if not isfinite(value):
        return UNKNOWN
    text = f"{value:+.{digits}f}"
    return text if float(text) else text[1:]


def short(value: float, digits: int = 3) -> str:
    """As `signed`, without the leading zero: `+.081`."""
    text = signed(value, digits)
    return text.replace("0.", ".", 1) if text.lstrip("+-").startswith("0.") else text


def p_value(value: float) -> str:
    """`.004`, `.049`, `.31`, `1.00`, `< .001`: three decimals where they decide."""
    if not isfinite(value):
        return UNKNOWN
    if value < 0.001:
        return "< .001"
    return f"{value:.3f}".removeprefix("0") if value < 0.1 else share(value)


def strength(value: float) -> str:
    """A strength with its sign: `+0.05`, `-0.1`, `0`."""
    return f"{value:+g}" if value else "0"


def change(value: float, low: float, high: float) -> str:
    """A difference with its interval: `+0.081 [+.040, +.120]`."""
    if not isfinite(value):
        return UNKNOWN
    if not (isfinite(low) and isfinite(high)):
        return signed(value)
    return f"{signed(value)} [{short(low)}, {short(high)}]"


def rate(k: int, n_scored: int, n_total: int, value: float, low: float, high: float) -> str:
    """A rate with its denominator and interval: `3/20 .15 [.05–.36]`, `3/17 of 20 …`."""
    of = f" of {n_total}" if n_scored < n_total else ""
    interval = f" [{share(low)}–{share(high)}]" if isfinite(low) and isfinite(high) else ""
    return f"{k}/{n_scored}{of} {share(value)}{interval}"
