"""Which engine a model gets: the steered one where it serves the model exactly, else the reference.

Nothing falls back in silence: the choice carries its reason, and the run's manifest holds both.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch

from emoctl.engine.architecture import refusal
from emoctl.engine.exactness import cascade_error
from emoctl.engine.play import SteeredEngine
from emoctl.engine.readings import Probe
from emoctl.engine.reference import ReferenceEngine
from emoctl.engine.rollout import Completion, Respond, RolloutRequest, SamplingParams, no_answer
from emoctl.errors import ModelError
from emoctl.models.loading import LoadedModel

EngineName = Literal["cascade", "reference"]

TOLERANCE = {"torch.float64": 1e-6, "torch.float32": 1e-4}
"""Largest difference from plain transformers, as a share of the largest logit, by dtype. Rounding
makes far less, a wrong mask or layer far more. transformers takes some softmaxes of a float64 model
in float32."""

HALF_TOLERANCE = 5e-2

UNSERVED = (AttributeError, IndexError, RuntimeError, TypeError)
"""What a module raises that calls its cache or its attention in a way nobody foresaw."""


@runtime_checkable
class Engine(Protocol):
    """Plays rollouts."""

    @property
    def name(self) -> EngineName:
        """What the manifest calls it."""
        ...

    @property
    def model(self) -> LoadedModel:
        """The model as this engine computes it."""
        ...

    def play(
        self,
        requests: Sequence[RolloutRequest],
        params: SamplingParams,
        respond: Respond = no_answer,
    ) -> Iterator[Completion]:
        """Every request to its end, each as soon as it is finished."""
        ...


@dataclass(frozen=True)
class EngineChoice:
    """An engine, and why it is this one."""

    name: EngineName
    why: str
    fell_back: bool = False
    """Whether the faster one was wanted and does not serve the model."""


def choose_engine(model: LoadedModel, wanted: Literal["auto", "reference"]) -> EngineChoice:
    """Look at the architecture, then try the steered engine on the model itself."""
    if wanted == "reference":
        return EngineChoice("reference", "the config asks for it")
    refused = refusal(model.module)
    if refused:
        return EngineChoice("reference", refused, fell_back=True)
    try:
        error = cascade_error(model)
    except ModelError as error_:
        return EngineChoice("reference", str(error_), fell_back=True)
    except torch.OutOfMemoryError:
        raise
    except UNSERVED as error_:
        words = str(error_).splitlines()[0] if str(error_) else "no reason given"
        return EngineChoice(
            "reference",
            f"the steered engine fails: {type(error_).__name__}: {words}",
            fell_back=True,
        )
    tolerance = TOLERANCE.get(str(model.dtype), HALF_TOLERANCE)
    words = f"its logits are within {error:.1e} of transformers', as a share of the largest"
    if not error <= tolerance:
        return EngineChoice("reference", f"the steered engine fails: {words}", fell_back=True)
    return EngineChoice("cascade", words)


@dataclass(frozen=True)
class EngineSetup:
    """Everything that an engine is made from, beside a model and a probe."""

    name: EngineName
    rows: int
    """Most rows decoded together."""

    workers: int = 1
    """Processes that share the machine's memory."""


def make_engine(model: LoadedModel, setup: EngineSetup, probe: Probe | None = None) -> Engine:
    """The engine of that name."""
    if setup.name == "cascade":
        return SteeredEngine(model, setup.rows, probe, memory_share=1 / setup.workers)
    return ReferenceEngine(model, setup.rows, probe)
