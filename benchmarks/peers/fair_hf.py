"""The best that transformers' own cache allows: the prompt once a condition, its cache expanded to
all rows, a bare decode loop, and a forward hook."""

from typing import Any

from benchmarks.job import Job, Outcome
from benchmarks.peers.hooked import Watch, added, load_module
from benchmarks.serving import serve


def run(module: Any, job: Job) -> Outcome:
    """Each condition by itself, all its rows at once."""
    import torch

    watch = Watch(job.keep_outputs)
    generator = torch.Generator().manual_seed(job.seed)
    for condition in job.conditions:
        with added(module, condition), watch.passes(module.lm_head):
            watch.tokens += decode(module, job, generator)
    return watch.outcome("transformers", keep_tokens=job.keep_outputs)


def decode(module: Any, job: Job, generator: Any) -> list[tuple[int, ...]]:
    """New tokens of each row."""
    import torch
    from transformers import DynamicCache

    def draw(logits: Any) -> Any:
        if job.greedy:
            return logits.argmax(-1, keepdim=True)
        return logits.softmax(-1).multinomial(1, generator=generator)

    with torch.inference_mode():
        cache = DynamicCache()
        prompt = torch.tensor([job.token_ids])
        first = module(prompt, past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache.batch_repeat_interleave(job.rows)
        drawn = [draw(first.logits[:, -1].expand(job.rows, -1))]
        while len(drawn) < job.new_tokens:
            output = module(drawn[-1], past_key_values=cache, use_cache=True)
            drawn.append(draw(output.logits[:, -1]))
    return [tuple(row) for row in torch.cat(drawn, 1).tolist()]


if __name__ == "__main__":
    serve(load_module, run)
