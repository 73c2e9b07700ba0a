"""What crosses between emoctl and another program's file: vectors at some layers, and words.

A bundle does not know which program its file is for.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal, Self

import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator
from torch import Tensor

from emoctl.errors import VectorError
from emoctl.vectors.provenance import Provenance

Norm = Annotated[float, Field(gt=0, allow_inf_nan=False)]
STATEMENT: Literal["emoctl-exchange/1"] = "emoctl-exchange/1"


class Statement(BaseModel):
    """What emoctl writes into a file beside the vectors, so that it can be read back exactly."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["emoctl-exchange/1"] = STATEMENT
    emotions: tuple[str, ...]
    layers: tuple[int, ...]
    mean_norm: tuple[Norm, ...]
    """Mean residual norm where the vectors were made, by layer of `layers`."""

    length: Literal["stored", "unit", "strength"]
    """`stored`: as emoctl keeps the vectors. `strength`: strength × mean residual norm."""

    strength: str | None
    provenance: Provenance

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(self.mean_norm) != len(self.layers):
            raise ValueError("mean_norm: one norm a layer")
        return self


@dataclass(frozen=True, eq=False)
class Bundle:
    """Vectors as a file of another program holds them."""

    vectors: Float[Tensor, "emotions layers d_model"]
    layers: tuple[int, ...]
    """emoctl's layers, in order: 0-based blocks whose resid_post is added to."""

    factors: tuple[float, ...]
    """By layer; what is added is the vector times this."""

    emotions: tuple[str, ...] | None
    """None where the file does not name what its one vector is."""

    statement: Statement | None = None
    """None in files that emoctl did not write."""

    block_path: str | None = None
    """What the file calls the list of blocks, where it names blocks instead of numbering them."""

    said: dict[str, JsonValue] = field(default_factory=dict)
    """What else the file says of itself."""

    @property
    def added(self) -> Float[Tensor, "emotions layers d_model"]:
        """What the file's own program adds at coefficient 1, in float32."""
        scaled = [self.vectors[:, i] * factor for i, factor in enumerate(self.factors)]
        return torch.stack(scaled, dim=1)

    def claims(self) -> dict[str, JsonValue]:
        """Everything that the file says of itself, for a provenance."""
        stated = self.statement.model_dump(mode="json") if self.statement else None
        return {**self.said, **({"emoctl": stated} if stated else {})}


def first_line(error: BaseException) -> str:
    """What an error of another library says, in one line."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:160]


def parse_statement(text: str, where: str) -> Statement:
    """emoctl's own words in a file.

    Raises:
        VectorError: they are malformed, or of a later version.
    """
    try:
        return Statement.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the whole"
        raise VectorError(
            f"{where}: what emoctl wrote into it is malformed at {key}: {first['msg']}",
            hint="export it again with this version of emoctl",
        ) from None


def check_bundle(bundle: Bundle, where: str) -> None:
    """Refuse a file whose vectors cannot steer, or which contradicts itself.

    Raises:
        VectorError: no vector, layers out of order, a value that is not finite, a zero vector, or
            a statement about other vectors.
    """
    n_emotions, n_layers, _ = bundle.vectors.shape
    if not n_emotions or not n_layers:
        raise VectorError(f"{where} holds no vector")
    if sorted(set(bundle.layers)) != list(bundle.layers) or bundle.layers[0] < 0:
        raise VectorError(f"{where}: its layers, {bundle.layers}, are not in order, each once")
    names = bundle.emotions or tuple(f"vector {i}" for i in range(n_emotions))
    if len(names) != n_emotions or len(set(names)) != n_emotions:
        raise VectorError(f"{where}: {len(names)} emotions are named for {n_emotions} vectors")
    for name, at_layers in zip(names, bundle.added, strict=True):
        for layer, vector in zip(bundle.layers, at_layers, strict=True):
            if not torch.isfinite(vector).all():
                raise VectorError(
                    f"{where}: {name} at layer {layer} has a value that is not finite"
                )
            if not vector.any():
                raise VectorError(f"{where}: {name} at layer {layer} is zero")
    stated = bundle.statement
    if stated and (stated.layers != bundle.layers or stated.emotions != bundle.emotions):
        raise VectorError(
            f"{where}: emoctl wrote it for {', '.join(stated.emotions)} at layers {stated.layers}, "
            f"and it holds {', '.join(names)} at layers {bundle.layers}",
            hint="it was changed since; export it again",
        )
