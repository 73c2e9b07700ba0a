"""A model's tokenizer alone, without its weights."""

import os
from typing import Any

from emoctl.errors import ModelError
from emoctl.models.catalog import ModelSource


def load_tokenizer(source: ModelSource) -> Any:
    """The tokenizer of a model, chat template included; fetched first if need be.

    Raises:
        ModelError: it cannot be fetched or read.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from transformers import AutoTokenizer
    from transformers.utils import logging

    where = str(source.local_folder() or source.id)
    revision = {"revision": source.revision} if source.revision else {}
    logging.set_verbosity_error()
    try:
        return AutoTokenizer.from_pretrained(where, **revision)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"the tokenizer of {source.id!r} cannot be loaded: {first}", hint=source.remedy
        ) from error
