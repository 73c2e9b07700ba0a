"""The reference for correctness: one plain forward pass of transformers over everything written so
far, for every token; no cache, no batch, a hook. It is never timed."""

from typing import Any

from benchmarks.job import Condition, Job, Outcome, digest_tokens
from benchmarks.peers.hooked import added, load_module
from benchmarks.serving import serve, versions_of


def run(module: Any, job: Job) -> Outcome:
    """Greedy: all rows of a condition say the same."""
    first, tokens = [], []
    for condition in job.conditions:
        written: list[int] = []
        for index in range(job.new_tokens):
            logits = last_logits(module, (*job.token_ids, *written), condition)
            if index == 0:
                first.append(tuple(logits.tolist()))
            written.append(int(logits.argmax()))
        tokens += [tuple(written)] * job.rows
    return Outcome(
        n_tokens=sum(map(len, tokens)),
        versions=versions_of("torch", "transformers"),
        token_digest=digest_tokens(tuple(tokens)),
        first_logits=tuple(first),
        tokens=tuple(tokens),
    )


def last_logits(module: Any, token_ids: tuple[int, ...], condition: Condition) -> Any:
    """Logits of the last position."""
    import torch

    with torch.inference_mode(), added(module, condition):
        return module(torch.tensor([token_ids]), logits_to_keep=1, use_cache=False).logits[0, -1]


if __name__ == "__main__":
    serve(load_module, run)
