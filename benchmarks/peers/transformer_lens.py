"""TransformerLens' `TransformerBridge.generate` with a hook on resid_post."""

from typing import Any

from benchmarks.job import Job, Outcome
from benchmarks.peers.hooked import Watch, load_module, seed_torch
from benchmarks.serving import serve


def load(job: Job) -> Any:
    """The bridge rewrites the module that it is given; this process has no other use for it."""
    import torch
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import AutoTokenizer

    return TransformerBridge.boot_transformers(
        job.model,
        hf_model=load_module(job),
        tokenizer=AutoTokenizer.from_pretrained(job.model),
        device="cpu",
        dtype=torch.float32,
    )


def run(bridge: Any, job: Job) -> Outcome:
    """Each condition by itself, all its rows at once."""
    import torch

    watch = Watch(job.keep_outputs)
    seed_torch(job.seed)
    prompt = torch.tensor([job.token_ids]).repeat(job.rows, 1)
    for condition in job.conditions:
        vector = torch.tensor(condition.added)

        def steer(resid: Any, hook: Any = None, vector: Any = vector) -> Any:
            del hook
            return resid + vector

        name = f"blocks.{condition.layer}.hook_out"
        with (
            torch.inference_mode(),
            bridge.hooks(fwd_hooks=[(name, steer)]),
            watch.passes(bridge.unembed),
        ):
            written = bridge.generate(
                prompt,
                max_new_tokens=job.new_tokens,
                stop_at_eos=False,
                do_sample=not job.greedy,
                return_type="tokens",
                verbose=False,
            )
        watch.tokens += [tuple(row) for row in written[:, prompt.shape[1] :].tolist()]
    return watch.outcome("transformers", "transformer-lens", keep_tokens=job.keep_outputs)


if __name__ == "__main__":
    serve(load, run)
