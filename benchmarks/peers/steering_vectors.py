"""steering-vectors' own patch around transformers' `generate`. It pins transformers below 5."""

from typing import Any

from benchmarks.job import Job, Outcome
from benchmarks.peers.hooked import Watch, load_module, seed_torch, transformers_generate
from benchmarks.serving import serve


def run(module: Any, job: Job) -> Outcome:
    """Each condition by itself, all its rows at once."""
    import torch
    from steering_vectors import SteeringVector

    watch = Watch(job.keep_outputs)
    seed_torch(job.seed)
    for condition in job.conditions:
        vector = SteeringVector({condition.layer: torch.tensor(condition.added)})
        with torch.inference_mode(), vector.apply(module), watch.passes(module.lm_head):
            watch.tokens += transformers_generate(module, job)
    return watch.outcome("transformers", "steering-vectors", keep_tokens=job.keep_outputs)


if __name__ == "__main__":
    serve(load_module, run)
