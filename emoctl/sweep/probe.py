"""Which tokens are read, along which emotions, and how what was read is kept.

Here a direction has an emotion's name; the engine gets numbers.
"""

import hashlib
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from emoctl.config.schema import ExperimentConfig
from emoctl.engine.readings import Probe, Readings
from emoctl.errors import ConfigError, UnknownEmotionError, did_you_mean
from emoctl.store.records import ProbeRecord, ReadingsRecord
from emoctl.vectors.files import EmotionVectors


def make_probe(vectors: EmotionVectors, config: ExperimentConfig) -> Probe | None:
    """The directions that the config reads, in its order; None where it reads none.

    Raises:
        ConfigError: the model has no such layer.
        UnknownEmotionError: the vectors hold no such emotion.
        VectorError: imported vectors lack the layer.
    """
    if config.readings is None:
        return None
    layers = _layers(vectors, config.readings.layers)
    chosen = [vectors.emotions.index(name) for name in read_emotions(vectors, config)]
    directions = vectors.vectors[chosen][:, list(layers)].transpose(0, 1).double()
    unit = directions / directions.norm(dim=-1, keepdim=True)
    return Probe(layers, unit.float().contiguous(), config.readings.prompt)


def read_emotions(vectors: EmotionVectors, config: ExperimentConfig) -> tuple[str, ...]:
    """The emotions of `make_probe`'s directions.

    Raises:
        UnknownEmotionError: the vectors hold no such emotion.
    """
    wanted = config.readings.emotions if config.readings else ()
    if wanted == "all":
        return vectors.emotions
    for emotion in wanted:
        if emotion not in vectors.emotions:
            listing = f"they hold {', '.join(vectors.emotions)}"
            raise UnknownEmotionError(
                f"readings.emotions: no emotion is called {emotion!r} in these vectors",
                hint=did_you_mean(emotion, list(vectors.emotions), listing=listing),
            )
    return wanted


def _layers(vectors: EmotionVectors, wanted: str | tuple[int, ...]) -> tuple[int, ...]:
    if isinstance(wanted, str):
        wanted = (vectors.provenance.default_layer,)
    n_layers = vectors.provenance.n_layers
    beyond = [layer for layer in wanted if layer >= n_layers]
    if beyond:
        raise ConfigError(
            f"readings.layers lists {beyond[0]}; the model has layers 0 to {n_layers - 1}",
            hint="choose some of them, or two-thirds",
        )
    for layer in wanted:
        vectors.require_layer(layer, "readings.layers")
    return wanted


def probe_record(probe: Probe, vectors: EmotionVectors, config: ExperimentConfig) -> ProbeRecord:
    """What the run says, once, of all its readings."""
    return ProbeRecord(
        emotions=read_emotions(vectors, config),
        layers=probe.layers,
        prompt=probe.prompt,
        directions_sha256=_sha256(probe.directions),
    )


def _sha256(directions: Float[Tensor, "layers directions d_model"]) -> str:
    content = directions.to("cpu", torch.float32).contiguous().numpy().astype("<f4").tobytes()
    return "sha256:" + hashlib.sha256(content).hexdigest()


def readings_record(
    rollout_id: str,
    read: Readings,
    fed: tuple[int, ...],
    response_start: int,
    tokenizer: Any,
) -> ReadingsRecord:
    """One rollout's readings, with the text of each token that was read.

    `fed` are all tokens that the model processed: the prompt, and the response but for its last
    token. Raises ValueError where the engine read others than these.
    """
    n_tokens, n_layers, n_directions = read.cosines.shape
    tokens = fed[response_start + read.first :]
    if len(tokens) != n_tokens:
        raise ValueError(f"{rollout_id}: {n_tokens} tokens were read, {len(tokens)} expected")
    return ReadingsRecord(
        rollout_id=rollout_id,
        first=read.first,
        shape=(n_tokens, n_layers, n_directions),
        cosines=np.ascontiguousarray(read.cosines, "<f2").tobytes(),
        norms=np.ascontiguousarray(read.norms, "<f4").tobytes(),
        tokens=tuple(tokenizer.decode([token]) for token in tokens),
    )
