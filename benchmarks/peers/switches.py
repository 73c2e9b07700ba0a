"""Parts of emoctl's engine, switched off one at a time, to see what each is worth.

    no-cascade  every row reads the prompt's keys by itself, in one batched product, uncopied
    no-split    every condition has a prompt of its own in all layers, and computes it whole
    no-packing  linear layers by PyTorch's own product, with weights as they are
    int8        not a part of the engine: linear layers of the blocks in 8 bits, quantised as they
                run. It changes the logits; the LM head stays as it is.

The engine has no such switches: here its own functions are replaced for the time of a run.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

SWITCHES = frozenset({"", "no-cascade", "no-split", "no-packing", "int8"})


@contextmanager
def switched_off(name: str) -> Iterator[None]:
    """Let the engine do without a part, inside the block."""
    if name == "no-cascade":
        with patch("emoctl.engine.cascade._over_prefix", _row_by_row):
            yield
    elif name == "no-split":
        with patch("emoctl.engine.opening.PrefixStore", _whole_prefixes()):
            yield
    elif name == "no-packing":
        with patch("emoctl.engine.linear.can_pack", lambda _module: False):
            yield
    else:
        yield


def _row_by_row(
    this: Any, group: Any, queries: Any, scores: Any, sharing: int, window: int | None
) -> Any:
    """Attention over the prefix in which rows share nothing but its address."""
    from emoctl.engine.attention import attend

    del this, sharing, window
    rows = group.rows[: group.n]
    keys = group.keys.expand(len(rows), -1, -1, -1)
    values = group.values.expand(len(rows), -1, -1, -1)
    return attend(queries[rows], keys, values, scores)


def _whole_prefixes() -> Any:
    """A store whose every prefix is computed and kept whole."""
    import torch
    from transformers import DynamicCache

    from emoctl.engine.prefix import Prefix, PrefixStore
    from emoctl.engine.steering import SteeringCount

    class WholePrefixes(PrefixStore):
        @torch.inference_mode()
        def under(self, steering: Any) -> Prefix:
            def add(_module: Any, _inputs: Any, resid: Any) -> Any:
                return resid + steering.added.to(resid)

            cache = DynamicCache()
            handle = self.model.blocks[steering.layer].register_forward_hook(add)
            try:
                self._forward(cache)
            finally:
                handle.remove()
            layers: Any = cache.layers
            n, norm = len(self.token_ids), float(steering.added.norm())
            return Prefix(
                n_tokens=n,
                keys=tuple(layer.keys for layer in layers),
                values=tuple(layer.values for layer in layers),
                added=SteeringCount(n if norm else 0, norm),
            )

        def _compute_plain(self) -> Prefix:
            if len(self.token_ids) == 1:  # asked for the shape of a cache alone
                return super()._compute_plain()
            return Prefix(len(self.token_ids), (), (), SteeringCount(0, 0.0))

    return WholePrefixes


def quantized(model: Any) -> Any:
    """A copy of the model with its blocks' linear layers in 8 bits."""
    import copy
    import warnings

    import torch

    from emoctl.models.loading import decoder_blocks

    module = copy.deepcopy(model.module)
    kinds: Any = {torch.nn.Linear}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates its own quantisation for another package
        for block in decoder_blocks(module):
            torch.ao.quantization.quantize_dynamic(block, kinds, torch.qint8, inplace=True)
    return replace(model, module=module, blocks=decoder_blocks(module))
