"""One GGUF file → a transformers folder of float32 safetensors. Knows no cache and no network."""

import contextlib
import copy
import io
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from emoctl.errors import ModelError

UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    RuntimeError,
    ImportError,
    MemoryError,
    OverflowError,
    struct.error,
)
"""What transformers and gguf raise on a file that they do not understand."""


def convert(gguf: Path, folder: Path) -> None:
    """Write the model and the tokenizer of `gguf` into `folder`.

    The weights are dequantised; what is written says nothing of a quantisation any more, so that
    it loads as a plain float32 model.

    Raises:
        ModelError: transformers cannot read the file as a causal language model.
    """
    from safetensors import SafetensorError

    with _quiet():
        try:
            model, tokenizer = _load(gguf)
        except UNREADABLE as error:
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ModelError(
                f"model file {gguf.name} cannot be converted: {first}",
                hint="give a GGUF file of a decoder-only language model that transformers knows",
            ) from error
        try:
            model.save_pretrained(str(folder))
            tokenizer.save_pretrained(str(folder))
        except SafetensorError as error:  # a full disk is one of these, not an OSError
            raise OSError(str(error)) from error


def _load(gguf: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where = str(gguf.parent)
    model = AutoModelForCausalLM.from_pretrained(where, gguf_file=gguf.name, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(where, gguf_file=gguf.name)
    config = copy.deepcopy(model.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    with torch.device("meta"):
        plain = AutoModelForCausalLM.from_config(config)
    plain.load_state_dict(model.state_dict(), assign=True)
    plain.tie_weights()
    plain.generation_config = model.generation_config
    return plain, tokenizer


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Neither progress bars nor log lines while transformers works; its settings are put back."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
