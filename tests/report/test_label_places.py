"""Names beside dots: they keep out of each other's way where there is room."""

from hypothesis import given
from hypothesis import strategies as st

from emoctl.report.label_places import LETTER, Plot, place_labels

PLOT = Plot(x=(0.0, 1.0), y=(0.0, 1.0), width=600, height=400, font=10)


def overlaps(places: list[tuple[float, float]], names: list[str]) -> int:
    boxes = []
    for (x, y), name in zip(places, names, strict=True):
        across, down = PLOT.pixels(x, y)
        half = LETTER * PLOT.font * len(name) / 2
        boxes.append((across - half, down - 5, across + half, down + 5))
    return sum(
        min(a[2], b[2]) > max(a[0], b[0]) + 1e-9 and min(a[3], b[3]) > max(a[1], b[1]) + 1e-9
        for i, a in enumerate(boxes)
        for b in boxes[:i]
    )


def test_a_lone_name_stands_above_its_dot() -> None:
    ((x, y),) = place_labels(PLOT, [(0.5, 0.5)], ["calm"])
    assert x == 0.5
    assert 0.5 < y < 0.53


def test_names_of_one_place_do_not_lie_on_each_other() -> None:
    names = ["thrilled", "ecstatic", "vibrant", "elated"]
    dots = [(0.5, 0.5), (0.501, 0.501), (0.499, 0.5), (0.5, 0.499)]
    assert overlaps(place_labels(PLOT, dots, names), names) == 0
    above = [(x, y + 0.02) for x, y in dots]
    assert overlaps(above, names) == 6, "control: all above their dots"


@given(st.floats(0, 1), st.floats(0, 1))
def test_pixels_and_figures_are_each_others_inverse(x: float, y: float) -> None:
    across, down = PLOT.pixels(x, y)
    assert 0 <= across <= 600
    assert 0 <= down <= 400
    back = PLOT.figures(across, down)
    assert abs(back[0] - x) + abs(back[1] - y) < 1e-9
