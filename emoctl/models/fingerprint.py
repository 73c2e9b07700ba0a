"""Which model a number came from: hashes over weights, tokenizer and chat template.

A vector file carries these, and is refused by a model whose weights differ; equal ids prove
nothing, since a hub id moves and a folder can be overwritten.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from emoctl.models.catalog import ModelSource

NOT_ARCHITECTURE = {
    "transformers_version",
    "dtype",
    "torch_dtype",
    "use_cache",
    "output_attentions",
    "output_hidden_states",
    "return_dict",
}
"""Keys of a transformers config that change no activation."""


@dataclass(frozen=True)
class ModelIdentity:
    """What a vector file and a manifest say of a model."""

    id: str
    revision: str | None
    source: str
    """`embedded`, `hub`, `folder`, `gguf` or `memory`."""

    weight_sha256: str
    """`sha256:…` over the config and the names, shapes, dtypes and bytes of all parameters."""

    tokenizer_sha256: str
    template_sha256: str | None
    """None for a model without a chat template."""


def identify(module: Any, tokenizer: Any, source: ModelSource | None) -> ModelIdentity:
    """Hash a loaded model; about half a second a gigabyte."""
    template = getattr(tokenizer, "chat_template", None)
    return ModelIdentity(
        id=source.id if source else type(module).__name__,
        revision=source.revision if source else None,
        source=source.kind if source else "memory",
        weight_sha256=model_digest(module),
        tokenizer_sha256=tokenizer_digest(tokenizer),
        template_sha256=_digest(str(template).encode()) if template else None,
    )


def weight_digest(module: Any) -> str:
    """`sha256:…` over a module's parameters; the same on every device."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(module.named_parameters()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        flat = tensor.detach().cpu().contiguous().view(-1)
        digest.update(memoryview(flat.view(torch.uint8).numpy()))
    return "sha256:" + digest.hexdigest()


def model_digest(module: Any) -> str:
    """`sha256:…` over a transformers module's parameters and config.

    The config counts because a rope base, a soft cap or a window is no parameter, and changes
    every activation.
    """
    return _digest(f"{_architecture(module)}\n{weight_digest(module)}".encode())


def _architecture(module: Any) -> str:
    """What the config says of the computation, as JSON: no names, versions or run-time flags."""
    said = module.config.to_dict()
    kept = {k: v for k, v in said.items() if not k.startswith("_") and k not in NOT_ARCHITECTURE}
    return json.dumps(kept, sort_keys=True, default=str)


def tokenizer_digest(tokenizer: Any) -> str:
    """`sha256:…` over the vocabulary, the merges and the special tokens."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        content = backend.to_str()
    else:
        content = repr(sorted(tokenizer.get_vocab().items()))
    return _digest(f"{content}\n{sorted(tokenizer.special_tokens_map.items())}".encode())


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()
