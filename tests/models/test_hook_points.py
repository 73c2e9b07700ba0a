import pytest

from emoctl.models.hook_points import resid_post, two_thirds_layer


def test_two_thirds() -> None:
    assert two_thirds_layer(30) == 19
    assert [two_thirds_layer(n) for n in (1, 2, 4, 12, 26, 32)] == [0, 1, 2, 7, 17, 21]
    assert all(0 <= two_thirds_layer(n) < n for n in range(1, 200))


def test_hook_points_are_counted_from_0() -> None:
    assert resid_post(0) == "blocks.0.hook_out"
    assert resid_post(19) == "blocks.19.hook_out"
    with pytest.raises(ValueError, match="counted from 0; got -1"):
        resid_post(-1)
