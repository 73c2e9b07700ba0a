"""The least time that a decode step can take, from the model's shape and rates of this machine.

    bytes: weights + prompt's keys and values, once for all that share them + every row's own
    work:  2 × weights × rows + attention, prompt included, for every row
    bound = max(bytes / read rate, work / GEMM rate)

It does not know how the rates were measured.
"""

import json
from dataclasses import dataclass
from pathlib import Path

BYTES = 4
"""A float32."""


@dataclass(frozen=True)
class Shape:
    """A Llama-like model, as far as its cost goes."""

    d_model: int
    d_mlp: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_head: int
    d_vocab: int

    @property
    def linear_weights(self) -> int:
        """Weights that multiply every token: all layers and the LM head, no embedding."""
        attention = self.d_model * self.d_head * (2 * self.n_heads + 2 * self.n_kv_heads)
        mlp = 3 * self.d_model * self.d_mlp
        return self.n_layers * (attention + mlp) + self.d_model * self.d_vocab

    @property
    def weight_bytes(self) -> int:
        """Read in every step."""
        return self.linear_weights * BYTES

    @property
    def kv_bytes(self) -> int:
        """Keys and values of one token in all layers."""
        return self.n_layers * self.n_kv_heads * self.d_head * 2 * BYTES


@dataclass(frozen=True)
class Rates:
    """What one process reached while its mates did the same."""

    flops: float
    """Multiply-adds of all linear layers at the step's row count, counted as two each, a second."""

    read_bytes: float
    """A second, from memory."""


@dataclass(frozen=True)
class Step:
    """One decode step of one process."""

    rows: int
    """All conditions together."""

    conditions: int
    prompt_tokens: int
    suffix_tokens: float
    """Mean, over the steps that are timed."""

    shared_layers: float
    """Share of the layers, 0 to 1, at which all conditions have the same prompt."""


def bound_seconds(shape: Shape, step: Step, rates: Rates) -> float:
    """No step can be faster."""
    return max(read_seconds(shape, step, rates), work_seconds(shape, step, rates))


def read_seconds(shape: Shape, step: Step, rates: Rates) -> float:
    """To read weights, the prompt's keys and values, and every row's own."""
    prompt = step.prompt_tokens * shape.kv_bytes * prompt_copies(step)
    own = step.rows * step.suffix_tokens * shape.kv_bytes
    return (shape.weight_bytes + prompt + own) / rates.read_bytes


def work_seconds(shape: Shape, step: Step, rates: Rates) -> float:
    """To multiply: linear layers, and attention of every row over the whole text."""
    linear = 2 * shape.linear_weights * step.rows
    text = step.prompt_tokens + step.suffix_tokens
    attention = 4 * shape.n_layers * shape.n_heads * shape.d_head * text * step.rows
    return (linear + attention) / rates.flops


def prompt_copies(step: Step) -> float:
    """Prompts that are computed, and held: one below the steered layer, one a condition above."""
    return step.shared_layers + step.conditions * (1 - step.shared_layers)


def expanded_bytes(shape: Shape, rows: int, tokens: int) -> int:
    """A cache in which every row has its own copy of the prompt, and the weights."""
    return rows * tokens * shape.kv_bytes + shape.weight_bytes


def read_shape(folder: Path) -> Shape:
    """From a transformers folder's config.json."""
    raw = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    heads = raw["num_attention_heads"]
    return Shape(
        d_model=raw["hidden_size"],
        d_mlp=raw["intermediate_size"],
        n_layers=raw["num_hidden_layers"],
        n_heads=heads,
        n_kv_heads=raw.get("num_key_value_heads") or heads,
        d_head=raw.get("head_dim") or raw["hidden_size"] // heads,
        d_vocab=raw["vocab_size"],
    )
