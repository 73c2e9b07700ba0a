"""emoctl's own engine, called as a sweep calls it, whole or with a part switched off.

Temperature 1e-6 stands for greedy: the largest logit wins by far over the noise.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.job import Condition, Job, Outcome
from benchmarks.peers.hooked import Watch
from benchmarks.serving import Refused, serve


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
    from emoctl.engine.play import SteeredEngine

    if job.variant not in VARIANTS:
        raise Refused(f"this engine has no switch {job.variant!r}")
    rows = [(number, row) for number in range(len(job.conditions)) for row in range(job.rows)]
    if job.variant == "int8":
        model = in_int8(model)
    engine = SteeredEngine(model, len(rows))
    watch = Watch(job.keep_outputs)
    with (
        VARIANTS[job.variant](),
        HeadTimes(watch, engine.module.lm_head, n_prefills=len(job.conditions)),
    ):
        watch.tokens += play(engine, job, rows)
    return watch.outcome("transformers", keep_tokens=job.keep_outputs)


def play(engine: Any, job: Job, rows: list[tuple[int, int]]) -> list[tuple[int, ...]]:
    """New tokens of each (condition, row), in that order."""
    from emoctl.engine.noise import NoiseKey
    from emoctl.engine.rollout import RolloutRequest, SamplingParams

    steerings = [_steering(engine.model, condition) for condition in job.conditions]
    prompt = job.token_ids
    requests = [
        RolloutRequest(
            prompt, len(prompt), steerings[number], NoiseKey(job.seed, "benchmark", "prompt", row)
        )
        for number, row in rows
    ]
    params = SamplingParams(job.new_tokens, 1e-6 if job.greedy else 1.0)
    written = {done.index: done.token_ids for done in engine.play(requests, params)}
    return [written[index] for index in range(len(rows))]


def _steering(model: Any, condition: Condition) -> Any:
    import torch

    from emoctl.engine.steering import Steering

    added = torch.tensor(condition.added, dtype=model.dtype, device=model.device)
    return Steering(condition.layer, added, everywhere=True)


@contextmanager
def without_cascade() -> Iterator[None]:
    """A product with the prefix for every row, instead of one for all rows that share it."""
    from unittest.mock import patch

    from emoctl.engine import cascade, slots

    def alone(
        prefixes: Sequence[Any], sharing: int, n_new: int, device: Any
    ) -> list[tuple[Any, ...]]:
        by_row = [cascade.groups_of([prefix], sharing, n_new, device) for prefix in prefixes]
        return [
            tuple(replace(groups[0], rows=groups[0].rows + row) for row, groups in enumerate(layer))
            for layer in zip(*by_row, strict=True)
        ]

    with patch.object(slots, "groups_of", alone):
        yield


@contextmanager
def without_split() -> Iterator[None]:
    """The whole prompt through all layers for every condition, and a copy of every layer."""
    from unittest.mock import patch

    from emoctl.engine import prefix

    under = prefix.PrefixStore.under

    def anew(store: Any, steering: Any) -> Any:
        return under(prefix.PrefixStore(store.model, store.token_ids, store.layers), steering)

    with patch.object(prefix.PrefixStore, "under", anew):
        yield


def in_int8(model: Any) -> Any:
    """The same model with its linear layers in int8, weights a channel and activations a token:
    other logits, so never what emoctl uses."""
    import warnings

    import torch

    from emoctl.models.loading import wrap_model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces a successor that is not installed here
        module = torch.ao.quantization.quantize_dynamic(model.module, {torch.nn.Linear})
    quantised = wrap_model(module, model.tokenizer, model.identity)
    return replace(quantised, eos_ids=frozenset())


VARIANTS: dict[str, Callable[[], Any]] = {
    "": nullcontext,
    "no-cascade": without_cascade,
    "no-split": without_split,
    "int8": nullcontext,
}
"""What can be switched off or on: empty is the engine as users have it."""


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
