"""A size → the job itself: real text, and vectors that the model feels.

All peers get the same token ids and the same vectors.
"""

import hashlib
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.job import Condition, Job
from benchmarks.roofline import Shape, read_shape
from benchmarks.roster import Size

SEED = 20261
ADDED_NORM = 30.0
"""Length of each added vector; at two thirds of the embedded model's depth a fraction of the
residual stream's own, and plain to see in the logits. The gate holds that it is."""

TEXT = Path("replacement-affair") / "mailbox.md"


@dataclass(frozen=True)
class Subject:
    """What is steered, and with which text."""

    folder: Path
    shape: Shape
    token_ids: tuple[int, ...]
    """As many as the longest prompt."""

    layer: int

    @property
    def shared_layers(self) -> float:
        """Share of the layers that all conditions have in common on the prompt, 0 to 1."""
        return (self.layer + 1) / self.shape.n_layers

    def describe(self) -> dict[str, Any]:
        """For the results; what they may not mix."""
        from dataclasses import asdict

        return {
            "shape": asdict(self.shape),
            "layer": self.layer,
            "name": self.folder.name,
            "engine": engine_digest(),
        }


def engine_digest() -> str:
    """Of the engine's source and the peers', so that figures of two versions do not mix."""
    import emoctl.engine
    from benchmarks import peers

    digest = hashlib.sha256()
    for package in (emoctl.engine, peers):
        for path in sorted(Path(str(package.__file__)).parent.glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def find_subject(model: str, longest: int) -> Subject:
    """A model by emoctl's name for it, and the e-mail scenario's text, repeated to length.

    Raises:
        EmoctlError: there is no such model.
    """
    from transformers import AutoTokenizer

    from emoctl.models.catalog import resolve
    from emoctl.models.hook_points import two_thirds_layer
    from emoctl.scenarios.discovery import bundled_folder

    folder = resolve(model).local_folder() or Path(model)
    text = (bundled_folder() / TEXT).read_text(encoding="utf-8")
    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    ids = [int(i) for i in tokenizer.encode(text, add_special_tokens=False)]
    tiled = (ids * (longest // len(ids) + 1))[:longest]
    shape = read_shape(folder)
    return Subject(folder, shape, tuple(tiled), two_thirds_layer(shape.n_layers))


def make_job(subject: Subject, size: Size, variant: str = "") -> Job:
    """The job of a size."""
    return Job(
        model=str(subject.folder),
        token_ids=subject.token_ids[: size.prompt_tokens],
        conditions=make_conditions(subject, size.conditions),
        rows=size.rows,
        new_tokens=size.new_tokens,
        seed=SEED,
        variant=variant,
    )


def make_conditions(subject: Subject, n: int) -> tuple[Condition, ...]:
    """Random directions, each of the same length."""
    return tuple(
        Condition(subject.layer, _direction(subject.shape.d_model, number)) for number in range(n)
    )


def _direction(d_model: int, number: int) -> tuple[float, ...]:
    draw = random.Random(SEED + number)
    raw = [draw.gauss(0.0, 1.0) for _ in range(d_model)]
    length = sum(x * x for x in raw) ** 0.5
    return tuple(ADDED_NORM * x / length for x in raw)
