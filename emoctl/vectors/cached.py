"""Where a vectors file stands in the cache: its name is a hash over all that decides its content.

So a second extraction with the same inputs finds it and costs nothing. No torch is needed to ask.
"""

import hashlib
import json
from pathlib import Path
from typing import Final

from emoctl.config.schema import RecipeConfig
from emoctl.models.cache import cache_root
from emoctl.models.fingerprint import ModelIdentity
from emoctl.stories import Corpus

FORMAT: Final = "emoctl-vectors/1"
IMPORTED_FORMAT: Final = "emoctl-vectors/2"

N_SHUFFLED = 80
"""Shuffled-label vectors that a file holds."""

SHUFFLE_SEED = 171
"""Fixes the shuffled-label vectors, so that a file is a function of its inputs alone."""


def cached_vectors(
    identity: ModelIdentity, corpus: Corpus, recipe: RecipeConfig, dtype: str
) -> Path:
    """Where these inputs' vectors stand, or will stand once extracted."""
    content = {
        "format": FORMAT,
        "weights": identity.weight_sha256,
        "tokenizer": identity.tokenizer_sha256,
        "dtype": dtype,
        "corpus": corpus.digest,
        "recipe": recipe.model_dump(),
        "shuffled": [N_SHUFFLED, SHUFFLE_SEED],
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return cache_root() / "vectors" / f"{digest[:16]}.safetensors"


def cached_import(file_sha256: str, identity: ModelIdentity, neutral: str, word: str) -> Path:
    """Where vectors stand, or will stand, that were imported from a file with this hash, with these
    neutral texts, as vectors of `word`."""
    content = {
        "format": IMPORTED_FORMAT,
        "file": file_sha256,
        "weights": identity.weight_sha256,
        "tokenizer": identity.tokenizer_sha256,
        "neutral": neutral,
        "emotions": word,
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return cache_root() / "vectors" / f"{digest[:16]}.safetensors"


def find_vectors(text: str) -> Path:
    """A path as given, or the cached file of that name."""
    named = [path for path in cached_files() if path.stem == text]
    return named[0] if named and not Path(text).exists() else Path(text)


def cached_files() -> list[Path]:
    """Every vectors file in the cache."""
    return sorted((cache_root() / "vectors").glob("*.safetensors"))
