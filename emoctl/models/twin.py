"""Another module tree around the same parameter tensors.

Hooks, attention and forward functions of the twin are its own; weights exist once in memory.
"""

import copy
from dataclasses import replace
from typing import Any

from emoctl.models.loading import LoadedModel, decoder_blocks


def twin_module(module: Any) -> Any:
    """A copy of the module whose parameters are the very same tensors; buffers, which some
    position encodings rewrite as they go, are copied."""
    shared = {id(parameter): parameter for parameter in module.parameters()}
    return copy.deepcopy(module, memo=dict(shared))


def twin(model: LoadedModel) -> LoadedModel:
    """The same for a loaded model."""
    module = twin_module(model.module)
    return replace(model, module=module, blocks=decoder_blocks(module))
