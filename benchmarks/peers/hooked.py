"""What peers built on a transformers module share: loading, an additive hook, and a clock.

Works with transformers 4.57 as with 5.x.
"""

import json
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.job import Condition, Job, Outcome, digest_tokens
from benchmarks.serving import versions_of


def load_module(job: Job) -> Any:
    """The model in float32, in evaluation mode, with no opinion on when to stop."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

    torch.set_num_threads(job.threads)
    config = AutoConfig.from_pretrained(job.model)
    raw = json.loads((Path(job.model) / "config.json").read_text(encoding="utf-8"))
    theta = (raw.get("rope_parameters") or {}).get("rope_theta")
    if theta is not None and hasattr(config, "rope_theta"):  # transformers 4 reads the old key only
        config.rope_theta = theta
    module: Any = AutoModelForCausalLM.from_pretrained(
        job.model, config=config, dtype=torch.float32, attn_implementation="sdpa"
    )
    module.generation_config = GenerationConfig()
    return module.eval().requires_grad_(False)


def transformers_generate(module: Any, job: Job) -> list[tuple[int, ...]]:
    """New tokens of each row, by transformers' `generate`: plain sampling at temperature 1."""
    import torch

    once = torch.tensor([job.token_ids])
    written = module.generate(
        once.repeat(job.rows, 1) if job.greedy else once,
        attention_mask=torch.ones(job.rows if job.greedy else 1, once.shape[1], dtype=torch.long),
        max_new_tokens=job.new_tokens,
        min_new_tokens=job.new_tokens,
        do_sample=not job.greedy,
        num_return_sequences=1 if job.greedy else job.rows,
        top_k=0,
        pad_token_id=0,
    )
    return [tuple(row) for row in written[:, once.shape[1] :].tolist()]


@dataclass
class Watch:
    """When each forward pass of a job ended, and what the first said."""

    keep_logits: bool
    started: float = field(default_factory=time.perf_counter)
    ended: list[list[float]] = field(default_factory=list)
    """From the pass on that gave the last row its first token; a list for each way through."""

    first_logits: list[tuple[float, ...]] = field(default_factory=list)
    tokens: list[tuple[int, ...]] = field(default_factory=list)

    @contextmanager
    def passes(self, head: Any, skipped: int = 0, conditions: int = 1) -> Iterator[None]:
        """Time the passes through `head`, the module that gives logits. After `skipped` passes
        without meaning, one pass gives the first tokens of each of the conditions."""
        begun = time.perf_counter()
        ended: list[float] = []

        def note(_module: Any, _inputs: Any, logits: Any) -> None:
            ended.append(time.perf_counter() - begun)
            if self.keep_logits and skipped < len(ended) <= skipped + conditions:
                self.first_logits.append(tuple(logits[0, -1].tolist()))

        handle = head.register_forward_hook(note)
        try:
            yield
        finally:
            handle.remove()
        self.ended.append(ended[skipped + conditions - 1 :])

    def outcome(self, *packages: str, keep_tokens: bool) -> Outcome:
        """What was seen, up to now."""
        total = time.perf_counter() - self.started
        n_steps = len(self.ended[0]) - 1
        steps = [sum(ended[i + 1] - ended[i] for ended in self.ended) for i in range(n_steps)]
        tokens = tuple(self.tokens)
        return Outcome(
            total_seconds=total,
            prefill_seconds=sum(ended[0] for ended in self.ended),
            step_seconds=statistics.median(steps) if steps else None,
            n_tokens=sum(map(len, tokens)),
            versions=versions_of("torch", *packages),
            token_digest=digest_tokens(tokens),
            first_logits=tuple(self.first_logits),
            tokens=tokens if keep_tokens else (),
        )


@contextmanager
def added(module: Any, condition: Condition) -> Iterator[None]:
    """Add the condition's vector to the output of its layer, by a plain forward hook."""
    import torch

    vector = torch.tensor(condition.added)

    def hook(_module: Any, _inputs: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (output[0] + vector, *output[1:])
        return output + vector

    handle = decoder_layers(module)[condition.layer].register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def decoder_layers(module: Any) -> Any:
    """The one list of blocks that is as long as the config says the model is deep."""
    from torch import nn

    depth = module.config.num_hidden_layers
    lists = [m for m in module.modules() if isinstance(m, nn.ModuleList) and len(m) == depth]
    return lists[0]


def seed_torch(seed: int) -> None:
    """For `generate`, which draws from torch's own stream."""
    import torch

    torch.default_generator.manual_seed(seed)
