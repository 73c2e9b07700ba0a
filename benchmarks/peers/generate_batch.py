"""transformers' continuous batching, `generate_batch(num_return_sequences=rows)`, with a forward
hook. It shares the prompt's cache by token ids alone, so every condition gets a manager of its own;
the cache is given just the pages that the job needs, since its default takes most of the memory."""

import math
from typing import Any

from benchmarks.job import Job, Outcome
from benchmarks.peers.hooked import Watch, added, load_module
from benchmarks.serving import Refused, serve

PAGE_TOKENS = 256


def run(module: Any, job: Job) -> Outcome:
    """Each condition by itself, all its rows at once."""
    watch = Watch(job.keep_outputs)
    for condition in job.conditions:
        # sampled rows fork after the prompt without its last token; the next pass speaks for all
        skipped = 0 if job.greedy else 1
        with added(module, condition), watch.passes(module.lm_head, skipped):
            watch.tokens += decode(module, job)
    return watch.outcome("transformers", keep_tokens=job.keep_outputs)


def decode(module: Any, job: Job) -> list[tuple[int, ...]]:
    """New tokens of each row."""
    from transformers import ContinuousBatchingConfig, GenerationConfig

    pages = math.ceil((len(job.token_ids) + job.new_tokens) / PAGE_TOKENS) + 1
    answers = module.generate_batch(
        [list(job.token_ids)] * (job.rows if job.greedy else 1),
        generation_config=GenerationConfig(
            max_new_tokens=job.new_tokens,
            do_sample=not job.greedy,
            top_k=0,
            num_return_sequences=1 if job.greedy else job.rows,
            eos_token_id=-1,
            pad_token_id=0,
        ),
        continuous_batching_config=ContinuousBatchingConfig(
            page_size=PAGE_TOKENS,
            num_blocks=pages * (job.rows + 1),
            max_batch_tokens=max(512, job.rows),
            seed=job.seed,
        ),
        progress_bar=False,
    )
    failed = [answer.error for answer in answers.values() if answer.error]
    if failed:
        raise Refused(f"generate_batch: {failed[0]}")
    if len(answers) != job.rows:
        raise Refused(f"generate_batch: {len(answers)} of {job.rows} rows came back")
    return [tuple(answer.generated_tokens) for answer in answers.values()]


if __name__ == "__main__":
    serve(load_module, run)
