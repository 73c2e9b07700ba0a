"""emoctl's own engine, called as a sweep calls it.

The calls into emoctl stand in `load` and `play`; everything else is the same as for other peers.
Temperature 1e-6 stands for greedy: the largest logit wins by far over the noise.
"""

from dataclasses import dataclass, replace
from typing import Any

from benchmarks.job import Condition, Job, Outcome
from benchmarks.peers.hooked import Watch
from benchmarks.serving import Refused, serve

VARIANTS = frozenset({""})
"""What can be switched off: empty is the engine as users have it."""


def load(job: Job) -> Any:
    """emoctl's model, which no token ends."""
    import torch

    from emoctl.config.schema import ModelConfig
    from emoctl.models.loading import load_model

    torch.set_num_threads(job.threads)
    model = load_model(ModelConfig(id=job.model, device="cpu", dtype="float32"))
    return replace(model, eos_ids=frozenset())


def run(model: Any, job: Job) -> Outcome:
    """All conditions and rows together."""
    if job.variant not in VARIANTS:
        raise Refused(f"this engine has no switch {job.variant!r}")
    watch = Watch(job.keep_outputs)
    rows = [(number, row) for number in range(len(job.conditions)) for row in range(job.rows)]
    with HeadTimes(watch, model.module.lm_head, n_prefills=len(job.conditions)):
        watch.tokens += play(model, job, rows)
    return watch.outcome("transformers", keep_tokens=job.keep_outputs)


def play(model: Any, job: Job, rows: list[tuple[int, int]]) -> list[tuple[int, ...]]:
    """New tokens of each (condition, row), in that order."""
    from emoctl.engine.generate import RolloutRequest, SamplingParams, generate, prefill
    from emoctl.engine.noise import NoiseKey

    steerings = [_steering(model, condition) for condition in job.conditions]
    prompt = job.token_ids
    prefills = {id(s): prefill(model, prompt, len(prompt), s) for s in steerings}
    requests = [
        RolloutRequest(steerings[number], NoiseKey(job.seed, "benchmark", "prompt", row))
        for number, row in rows
    ]
    params = SamplingParams(job.new_tokens, 1e-6 if job.greedy else 1.0)
    completions = generate(
        model, prompt, len(prompt), requests, lambda steering: prefills[id(steering)], params
    )
    written = {completion.index: completion.token_ids for completion in completions}
    return [written[index] for index in range(len(rows))]


def _steering(model: Any, condition: Condition) -> Any:
    import torch

    from emoctl.engine.steering import Steering

    added = torch.tensor(condition.added, dtype=model.dtype, device=model.device)
    return Steering(condition.layer, added, everywhere=True)


@dataclass
class HeadTimes:
    """Times passes through the head, where the first `n_prefills` belong to the prompt."""

    watch: Watch
    head: Any
    n_prefills: int

    def __enter__(self) -> None:
        self._timing = self.watch.condition(self.head, self.n_prefills - 1)
        self._timing.__enter__()
        self._logits = self.head.register_forward_hook(self._note)
        self._seen = 0

    def __exit__(self, *error: object) -> None:
        self._logits.remove()
        self._timing.__exit__(None, None, None)

    def _note(self, _module: Any, _inputs: Any, logits: Any) -> None:
        self._seen += 1
        if self.watch.keep_logits and self._seen < self.n_prefills:
            self.watch.first_logits.append(tuple(logits[0, -1].tolist()))


if __name__ == "__main__":
    serve(load, run)
