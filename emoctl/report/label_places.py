"""Where names stand beside their dots, so that as few as possible lie on each other.

Greedy: each name takes the place around its dot at which it covers least of what is placed already
and of the dots. Knows rectangles, and no chart.
"""

from collections.abc import Sequence
from dataclasses import dataclass

LETTER = 0.56
"""Width of a letter of the charts' font, on average, as a share of its size."""

Box = tuple[float, float, float, float]
"""left, top, right, bottom."""


@dataclass(frozen=True)
class Plot:
    """A rectangle of pixels onto which figures are drawn."""

    x: tuple[float, float]
    """Figures at the left and the right edge."""

    y: tuple[float, float]
    """Figures at the bottom and the top edge."""

    width: float
    height: float
    font: float
    """Size of the names."""

    def pixels(self, x: float, y: float) -> tuple[float, float]:
        """From the left, and from the top."""
        across = (x - self.x[0]) / (self.x[1] - self.x[0]) * self.width
        return across, (self.y[1] - y) / (self.y[1] - self.y[0]) * self.height

    def figures(self, across: float, down: float) -> tuple[float, float]:
        """What `pixels` began with."""
        x = self.x[0] + across / self.width * (self.x[1] - self.x[0])
        return x, self.y[1] - down / self.height * (self.y[1] - self.y[0])


def place_labels(
    plot: Plot, dots: Sequence[tuple[float, float]], names: Sequence[str]
) -> list[tuple[float, float]]:
    """The middle of each name, in the plot's figures."""
    at = [plot.pixels(x, y) for x, y in dots]
    taken: list[Box] = [(a - 2, b - 2, a + 2, b + 2) for a, b in at]
    places = []
    for (across, down), name in zip(at, names, strict=True):
        half = LETTER * plot.font * len(name) / 2
        boxes = [
            (across + dx, down + dy, _box(across + dx, down + dy, half, plot.font / 2))
            for dx, dy in _around(half, plot.font)
        ]
        best = min(boxes, key=lambda place: sum(_common(place[2], other) for other in taken))
        taken.append(best[2])
        places.append(plot.figures(best[0], best[1]))
    return places


def _around(half: float, font: float) -> list[tuple[float, float]]:
    """Steps from a dot to the middle of its name, the best first."""
    beside, near, far = half + 5, 0.75 * font, 1.7 * font
    return [
        (0, -near), (0, near), (beside, 0), (-beside, 0), (beside, -near), (-beside, -near),
        (beside, near), (-beside, near), (0, -far), (0, far), (beside, -far), (-beside, -far),
        (beside, far), (-beside, far),
    ]  # fmt: skip


def _box(across: float, down: float, half_width: float, half_height: float) -> Box:
    return across - half_width, down - half_height, across + half_width, down + half_height


def _common(one: Box, other: Box) -> float:
    """Area that two boxes share."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(width, 0.0) * max(height, 0.0)
