"""Where a decode step of emoctl's engine goes, part by part.

    python -m benchmarks.profiling --rows 32 --prompt-tokens 1024 --out profile.json

The engine's functions are timed in place while one job is played; a function that another timed one
calls counts as its caller's. Parts add up to the step, so that what is left over (norms, rotations,
activations, Python) is a difference. With `--processes 2` two processes do the same at once, as two
workers of a sweep do, and the slower one is printed.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

from benchmarks.machine import describe_machine
from benchmarks.roofline import Shape

WHOLE = "whole step"
FORWARD = "forward pass"
DRAWING = "drawing tokens"
LOGPROBS = "log-probabilities"
PARTS = {
    "emoctl.engine.cascade._over_prefix": "attention over the prompt",
    "emoctl.engine.suffix.SuffixCache.attend": "attention over own tokens",
    "emoctl.engine.suffix.SuffixCache.write": "writing keys and values",
    "emoctl.engine.cascade.merge": "merging",
    "emoctl.engine.play.draw": DRAWING,
    "emoctl.engine.play.logprobs_of": LOGPROBS,
}
LINEAR = "linear layers and LM head"
BETWEEN = "norms, rotations, activations, calls"
BOOKKEEPING = "stops, receipts, bookkeeping"


@dataclass(frozen=True)
class Profile:
    """One job's decode steps."""

    rows: int
    prompt_tokens: int
    new_tokens: int
    threads: int
    processes: int
    step_seconds: dict[str, float]
    """Median over steps, by part; the medians of parts add up to about the whole."""

    linear_gflop: float
    prompt_gflop: float
    """Multiply-adds of one step, counted as two each."""


class Clock:
    """Seconds by part, of the step at hand."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []
        self._inside = False

    def part(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, timed unless it runs inside another part."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            if self._inside or not self.steps:
                return function(*args, **kwargs)
            self._inside = True
            try:
                return self._add(name, function, args, kwargs)
            finally:
                self._inside = False

        return timed

    def around(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, timed with all that it calls; the whole step begins a new one."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            if name == WHOLE:
                self.steps.append({})
            return self._add(name, function, args, kwargs)

        return timed

    def _add(self, name: str, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        step = self.steps[-1]
        start = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            step[name] = step.get(name, 0.0) + time.perf_counter() - start

    def medians(self) -> dict[str, float]:
        """By part, what is left over included. The first step warms up, and is left out."""
        steps = [self._with_rest(step) for step in self.steps[1:]]
        names = dict.fromkeys(name for step in steps for name in step if name != FORWARD)
        return {name: median(step.get(name, 0.0) for step in steps) for name in names}

    @staticmethod
    def _with_rest(step: dict[str, float]) -> dict[str, float]:
        drawn = step.get(DRAWING, 0.0) + step.get(LOGPROBS, 0.0)
        parts = sum(v for name, v in step.items() if name not in (WHOLE, FORWARD)) - drawn
        return {
            **step,
            BETWEEN: step[FORWARD] - parts,
            BOOKKEEPING: step[WHOLE] - step[FORWARD] - drawn,
        }


@contextmanager
def timed(clock: Clock) -> Iterator[None]:
    """The engine with its functions timed."""
    from emoctl.engine import cascade, linear, play, slots, suffix

    owners: dict[str, Any] = {
        "emoctl.engine.cascade": cascade,
        "emoctl.engine.suffix.SuffixCache": suffix.SuffixCache,
        "emoctl.engine.play": play,
    }
    plain_forward = linear._forward
    with ExitStack() as stack:
        for path, name in PARTS.items():
            owner = owners[path.rpartition(".")[0]]
            function = getattr(owner, path.rpartition(".")[2])
            stack.enter_context(patch(path, clock.part(name, function)))
        stack.enter_context(
            patch.object(
                linear, "_forward", lambda *packed: clock.part(LINEAR, plain_forward(*packed))
            )
        )
        for owner, method, name in (
            (slots.Slots, "feed_live", FORWARD),
            (play._Play, "_steps", WHOLE),
        ):
            function = getattr(owner, method)
            stack.enter_context(patch.object(owner, method, clock.around(name, function)))
        yield


def measure(model_id: str, rows: int, prompt_tokens: int, new_tokens: int, threads: int) -> Profile:
    """One condition, steered at two thirds of the depth, at every position.

    Raises:
        SystemExit: linear layers have no packed weights here, and so cannot be told apart.
    """
    import torch

    from emoctl.config import ModelConfig
    from emoctl.engine.noise import NoiseKey
    from emoctl.engine.play import SteeredEngine
    from emoctl.engine.rollout import RolloutRequest, SamplingParams
    from emoctl.engine.steering import Steering
    from emoctl.models.hook_points import two_thirds_layer
    from emoctl.models.loading import load_model

    torch.set_num_threads(threads)
    model = load_model(ModelConfig(id=model_id, device="cpu", dtype="float32"))
    layer = two_thirds_layer(model.n_layers)
    steering = Steering(layer, torch.full((model.d_model,), 0.05), everywhere=True)
    prompt = tuple(100 + i % 1000 for i in range(prompt_tokens))
    requests = [
        RolloutRequest(prompt, prompt_tokens, steering, NoiseKey(0, "profile", "prompt", row))
        for row in range(rows)
    ]
    clock = Clock()
    with timed(clock):
        engine = SteeredEngine(model, rows=rows)
        if not engine.packed:
            raise SystemExit("linear layers are not packed on this machine: nothing to time")
        for _ in engine.play(requests, SamplingParams(new_tokens, 1.0)):
            pass
    shape = _shape(model)
    return Profile(
        rows=rows,
        prompt_tokens=prompt_tokens,
        new_tokens=new_tokens,
        threads=threads,
        processes=1,
        step_seconds=clock.medians(),
        linear_gflop=2e-9 * shape.linear_weights * rows,
        prompt_gflop=4e-9 * shape.n_layers * shape.n_heads * shape.d_head * prompt_tokens * rows,
    )


def _shape(model: Any) -> Shape:
    config = model.module.config.get_text_config()
    heads = config.num_attention_heads
    return Shape(
        d_model=config.hidden_size,
        d_mlp=config.intermediate_size,
        n_layers=config.num_hidden_layers,
        n_heads=heads,
        n_kv_heads=config.num_key_value_heads or heads,
        d_head=getattr(config, "head_dim", None) or config.hidden_size // heads,
        d_vocab=config.vocab_size,
    )


def table(profile: Profile) -> str:
    """By part: milliseconds, share of the step, GF/s where the work is known."""
    whole = profile.step_seconds[WHOLE]
    work = {LINEAR: profile.linear_gflop, "attention over the prompt": profile.prompt_gflop}
    lines = ["| part | ms | share | GF/s |", "|---|---|---|---|"]
    for name, seconds in sorted(profile.step_seconds.items(), key=lambda item: -item[1]):
        rate = f"{work[name] / seconds:.0f}" if name in work else ""
        lines.append(f"| {name} | {1e3 * seconds:.1f} | {seconds / whole:.0%} | {rate} |")
    return "\n".join(lines)


def main() -> None:
    """Profile in as many processes as asked for; the slowest is what a sweep waits for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", default="smollm2-135m-instruct", help="as emoctl names models")
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--prompt-tokens", type=int, default=1024)
    parser.add_argument("--new-tokens", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--out", type=Path, help="write JSON here too")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        profile = measure(
            options.model,
            options.rows,
            options.prompt_tokens,
            options.new_tokens,
            options.threads,
        )
        print(json.dumps(asdict(profile)))  # noqa: T201
        return
    command = [sys.executable, "-m", "benchmarks.profiling", *sys.argv[1:], "--child"]
    children = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        for _ in range(options.processes)
    ]
    printed = [child.communicate()[0] for child in children]
    if any(child.returncode for child in children):
        raise SystemExit(1)
    profiles = [Profile(**json.loads(text.splitlines()[-1])) for text in printed]
    slowest = max(profiles, key=lambda profile: profile.step_seconds[WHOLE])
    print(table(slowest))  # noqa: T201
    if options.out:
        found = {**describe_machine(), "load_average": os.getloadavg()[0]}
        document = {**asdict(slowest), "processes": options.processes, "machine": found}
        options.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
