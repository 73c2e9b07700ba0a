"""Where a vectors file stands in the cache: its name is a hash over all that decides its content.

So a second extraction with the same inputs finds it and costs nothing. No torch is needed to ask.
"""

import hashlib
import json
from pathlib import Path

from emoctl.config.schema import RecipeConfig
from emoctl.models.cache import cache_root
from emoctl.models.fingerprint import ModelIdentity
from emoctl.stories import Corpus

FORMAT = "emoctl-vectors/1"

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


def find_vectors(text: str) -> Path:
    """A path as given, or the cached file of that name."""
    named = [path for path in cached_files() if path.stem == text]
    return named[0] if named and not Path(text).exists() else Path(text)


def cached_files() -> list[Path]:
    """Every vectors file in the cache."""
    return sorted((cache_root() / "vectors").glob("*.safetensors"))
