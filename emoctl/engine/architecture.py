"""Which models the steered engine serves, told from their config before anything is run.

What it serves: decoder-only models whose every layer is softmax attention over keys and values,
full or within a window, grouped or not, with a soft cap or sinks or neither, called through
transformers' attention interface. Anything else is named and left to the reference engine. That a
model which passes here is served *exactly* is tried on the model itself (`exactness.py`).
"""

from collections.abc import Iterator
from typing import Any

SERVED_LAYERS = frozenset({"full_attention", "sliding_attention"})
COUPLED_ROTATIONS = frozenset({"dynamic", "longrope"})
"""Their frequencies follow the longest row of a batch, so that a row would depend on its mates."""


def refusal(module: Any) -> str | None:
    """Why the steered engine does not serve this model, in words; None where it does."""
    config = module.config.get_text_config()
    name = type(module).__name__
    kinds = set(getattr(config, "layer_types", None) or ()) - SERVED_LAYERS
    if kinds:
        return f"{name} has layers of kind {', '.join(sorted(kinds))}"
    if getattr(config, "kv_lora_rank", None):
        return f"{name} has multi-head latent attention"
    if getattr(config, "attention_chunk_size", None):
        return f"{name} attends within chunks"
    if getattr(config, "num_kv_shared_layers", None):
        return f"{name} has layers that use another layer's keys and values"
    coupled = COUPLED_ROTATIONS.intersection(_rotations(config))
    if coupled:
        return f"{name} rotates by the longest row of a batch (rope_type {', '.join(coupled)})"
    if getattr(config, "reorder_and_upcast_attn", False):
        return f"{name} has an attention of its own (reorder_and_upcast_attn)"
    if not getattr(module, "_supports_attention_backend", False):
        return f"{name} does not call its attention through transformers' interface"
    return None


def _rotations(config: Any) -> Iterator[str]:
    """The kinds of rotary position embedding, of all layers or by kind of layer."""
    parameters = getattr(config, "rope_parameters", None) or {}
    for found in (parameters, *parameters.values()):
        if isinstance(found, dict) and isinstance(found.get("rope_type"), str):
            yield found["rope_type"]
