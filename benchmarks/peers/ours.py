"""emoctl's own engine, called as a sweep's worker calls it. Every run begins with a new engine: one
that has seen the prompt would not compute it again."""

from dataclasses import dataclass, replace
from typing import Any

from benchmarks.job import Condition, Job, Outcome
from benchmarks.peers.hooked import Watch
from benchmarks.peers.switches import SWITCHES, quantized, switched_off
from benchmarks.serving import Refused, serve


@dataclass
class Models:
    """emoctl's model, which no token ends, and what ablations make of it."""

    plain: Any
    quantized: Any = None


def load(job: Job) -> Models:
    """As a worker loads it."""
    import torch

    from emoctl.config.schema import ModelConfig
    from emoctl.models.loading import load_model

    torch.set_num_threads(job.threads)
    model = load_model(ModelConfig(id=job.model, device="cpu", dtype="float32"))
    return Models(replace(model, eos_ids=frozenset()))


def run(models: Models, job: Job) -> Outcome:
    """All conditions and rows together."""
    if job.variant not in SWITCHES:
        raise Refused(f"there is no switch {job.variant!r}")
    if job.variant == "int8":
        models.quantized = models.quantized or quantized(models.plain)
        return play(models.quantized, job)
    with switched_off(job.variant):
        return play(models.plain, job)


def play(model: Any, job: Job) -> Outcome:
    """Rows in order of condition."""
    from emoctl.engine.noise import NoiseKey
    from emoctl.engine.play import SteeredEngine
    from emoctl.engine.rollout import RolloutRequest, SamplingParams

    watch = Watch(job.keep_outputs)
    requests = [
        RolloutRequest(
            prompt=job.token_ids,
            response_start=len(job.token_ids),
            steering=steering,
            noise=NoiseKey(job.seed, "benchmark", "prompt", row),
        )
        for steering in [_steering(model, condition) for condition in job.conditions]
        for row in range(job.rows)
    ]
    engine = SteeredEngine(model, rows=len(requests))
    head = engine.module.get_output_embeddings()
    params = SamplingParams(job.new_tokens, 0.0 if job.greedy else 1.0)
    with watch.passes(head, conditions=len(job.conditions)):
        written = {done.index: done.token_ids for done in engine.play(requests, params)}
    watch.tokens += [written[index] for index in range(len(requests))]
    return watch.outcome("transformers", keep_tokens=job.keep_outputs)


def _steering(model: Any, condition: Condition) -> Any:
    import torch

    from emoctl.engine.steering import Steering

    added = torch.tensor(condition.added, dtype=model.dtype, device=model.device)
    return Steering(condition.layer, added, everywhere=True)


if __name__ == "__main__":
    serve(load, run)
