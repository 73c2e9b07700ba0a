"""What transformers calls a model's decoder blocks: `layers.19`, `h.19`.

Other programs find a block by this name. It is read off the config: no weights are loaded.
"""

from dataclasses import dataclass
from typing import Any

from emoctl.errors import ModelError
from emoctl.models.catalog import resolve


@dataclass(frozen=True)
class BlockNames:
    """A model's shape, and its parts' names."""

    model_type: str
    """transformers' name of the architecture, `llama`."""

    path: str
    """Where the list of blocks stands within `base_model`, `layers`."""

    n_layers: int
    d_model: int

    def block(self, layer: int) -> str:
        """The name of one block within `base_model`."""
        return f"{self.path}.{layer}"


def block_names(id: str, revision: str | None = None) -> BlockNames:
    """The names of the model `id`, from its config alone.

    Raises:
        ModelError: it cannot be found or fetched, or is not a decoder-only model.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.utils import logging

    logging.set_verbosity_error()
    source = resolve(id, revision)
    where = str(source.local_folder() or source.id)
    try:
        config = AutoConfig.from_pretrained(where, **({"revision": revision} if revision else {}))
        with torch.device("meta"):
            module = AutoModelForCausalLM.from_config(config)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"the names of the blocks of model {id!r} cannot be told: {first}", hint=source.remedy
        ) from error
    return names_of(module)


def names_of(module: Any) -> BlockNames:
    """The names of a transformers module that is in memory.

    Raises:
        ModelError: its decoder blocks cannot be told.
    """
    from emoctl.models.loading import decoder_blocks

    first = decoder_blocks(module)[0]
    (name,) = (n for n, part in module.base_model.named_modules() if part is first)
    text = module.config.get_text_config()
    return BlockNames(
        model_type=str(module.config.model_type),
        path=name.removesuffix(".0"),
        n_layers=text.num_hidden_layers,
        d_model=text.hidden_size,
    )
