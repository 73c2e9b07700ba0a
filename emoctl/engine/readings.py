"""Readings: how far each token's activation points along given directions, and how long it is.

    resid_post of a layer, steering already added ──▶ cosine with every direction, and its norm

A cosine and a norm give the projection. Directions are numbers here; what they stand for is not
known. An activation of length 0 has no direction, and reads NaN.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Probe:
    """What is read of every token."""

    layers: tuple[int, ...]
    """0-based; each layer's resid_post is read as the next layer gets it."""

    directions: Float[Tensor, "layers directions d_model"]
    """Unit length."""

    prompt: bool = False
    """Whether every token of the prompt is read, or only those from its last one on."""

    def on(self, device: torch.device) -> "Probe":
        """The same, with its directions on a device."""
        return replace(self, directions=self.directions.to(device))

    def read_from(self, response_start: int) -> int:
        """The first position that is read of a sequence whose response begins at
        `response_start`: 0, or that of the last prompt token."""
        return 0 if self.prompt else response_start - 1

    def read(
        self, resid: Float[Tensor, "*tokens d_model"], layer: int
    ) -> tuple[Float[Tensor, "*tokens directions"], Float[Tensor, "*tokens"]]:
        """Cosines with the layer's directions, −1 to 1, and L2 norms; at least in float32.

        NaN cosines where the norm is 0, or not finite.
        """
        exact = torch.promote_types(resid.dtype, torch.float32)
        wide = resid.to(exact)
        directions = self.directions[self.layers.index(layer)].to(resid.device, exact)
        norms = wide.norm(dim=-1)
        lengths = torch.where(norms.isfinite(), norms, torch.nan)
        return (wide @ directions.T) / lengths[..., None], norms


@dataclass(frozen=True, eq=False)
class Readings:
    """What was read of one rollout, in order, compact: 2 bytes a token, layer and direction."""

    first: int
    """Position of the first token that was read, counted from the response's first token: −1 is
    the last prompt token. The response's last token is never fed to the model, so never read."""

    cosines: npt.NDArray[np.float16]
    """[tokens, layers, directions]; within 0.0005 of the cosine, NaN where there is none."""

    norms: npt.NDArray[np.float32]
    """[tokens, layers]: L2 norm of resid_post. Projection = cosine × norm."""


def joined(probe: Probe | None, parts: Sequence[Readings], response_start: int) -> Readings | None:
    """What was read of one sequence, part after part, as one; None without a probe."""
    if probe is None:
        return None
    return Readings(
        probe.read_from(response_start) - response_start,
        np.concatenate([part.cosines for part in parts]),
        np.concatenate([part.norms for part in parts]),
    )
