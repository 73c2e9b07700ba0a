"""repeng's control module around transformers' `generate`."""

from typing import Any

from benchmarks.job import Job, Outcome
from benchmarks.peers.hooked import Watch, load_module, seed_torch, transformers_generate
from benchmarks.serving import serve


def run(module: Any, job: Job) -> Outcome:
    """Each condition by itself, all its rows at once."""
    import torch
    from repeng import ControlModel

    watch = Watch(job.keep_outputs)
    seed_torch(job.seed)
    for condition in job.conditions:
        controlled = ControlModel(module, [condition.layer])
        controlled.set_raw_control({condition.layer: torch.tensor(condition.added)})
        with watch.passes(module.lm_head):
            watch.tokens += transformers_generate(controlled, job)
        controlled.unwrap()
    return watch.outcome("transformers", "repeng", keep_tokens=job.keep_outputs)


if __name__ == "__main__":
    serve(load_module, run)
