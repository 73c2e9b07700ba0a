"""Which layer to read and steer at: the most reliable of those that read held-out topics best.

Accuracy has an error of its own, so the layers within one standard error of the best count as
equally good; of these, the one whose vectors agree most between halves of the stories is advised.
"""

from collections.abc import Sequence
from math import sqrt

from jaxtyping import Float
from torch import Tensor


def recommend_layer(
    accuracy: Sequence[float], n_stories: int, split_half: Float[Tensor, "splits emotions layers"]
) -> int:
    """The advised layer, 0-based. `accuracy` is held-out top-1 accuracy by layer."""
    best = max(accuracy)
    enough = best - sqrt(best * (1 - best) / n_stories)
    reliability = split_half.mean(0).median(0).values.tolist()
    good = [layer for layer, share in enumerate(accuracy) if share >= enough]
    return max(good, key=lambda layer: (reliability[layer], -layer))
