"""transformers' `generate(num_return_sequences=rows)` with a forward hook: what one would write
first. The prompt is computed for every row."""

from typing import Any

from benchmarks.job import Job, Outcome
from benchmarks.peers.hooked import Watch, added, load_module, seed_torch, transformers_generate
from benchmarks.serving import serve


def run(module: Any, job: Job) -> Outcome:
    """Each condition by itself, all its rows at once."""
    watch = Watch(job.keep_outputs)
    seed_torch(job.seed)
    for condition in job.conditions:
        with added(module, condition), watch.passes(module.lm_head):
            watch.tokens += transformers_generate(module, job)
    return watch.outcome("transformers", keep_tokens=job.keep_outputs)


if __name__ == "__main__":
    serve(load_module, run)
