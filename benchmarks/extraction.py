"""Reading stories: emoctl against TransformerLens and transformers, on the same texts.

    python -m benchmarks.extraction --texts 60 --repeats 5 --out extraction.json

Each way runs in a process of its own, in an order that rotates from repeat to repeat. It gives
tokens per second of wall and of processor time, the share of the matrix product rate measured in
that same process, and peak memory. Processor seconds hardly change when other programs take the
cores; wall seconds do, so the load average is recorded beside them. The peers run on one thread
and on all: where other programs want the cores too, all can be slower by far.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.extraction_figures import WAYS, Measured, check_agreement, summarise, table

FROM_TOKEN = 50


def plan_order(n_threads: int, repeat: int) -> list[tuple[str, int]]:
    """(way, threads) of one repeat; each comes first in turn."""
    peers = [(way, n) for way in WAYS[1:] for n in sorted({1, n_threads})]
    order = [(WAYS[0], n_threads), *peers]
    start = repeat % len(order)
    return [*order[start:], *order[:start]]


def measure(way: str, layers: str, n_texts: int, model_id: str) -> Measured:
    """One way in this process: load, warm up, matrix product rate, then the texts."""
    import torch

    from emoctl.config import ModelConfig
    from emoctl.models.hook_points import two_thirds_layer
    from emoctl.models.loading import load_model
    from emoctl.models.prompts import encode
    from emoctl.stories import load_corpus

    model = load_model(ModelConfig(id=model_id))
    stories = load_corpus("builtin", "builtin").stories
    texts = [stories[i % len(stories)].text for i in range(n_texts)]
    one = two_thirds_layer(model.n_layers)
    wanted = (one,) if layers == "one" else tuple(range(model.n_layers))
    read = _reader(way, model, wanted)
    read(texts[:2])
    rates = [_gemm_rate(model, max(wanted))]
    load = os.getloadavg()[0]
    wall, cpu = time.perf_counter(), time.process_time()
    means = read(texts)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    rates.append(_gemm_rate(model, max(wanted)))
    n_tokens = sum(len(encode(model.tokenizer, text, special=True)) for text in texts)
    weights = _weights(model, max(wanted))
    norms = means.norm(dim=-1).mean(0).tolist()
    if layers == "all":
        norms = norms[:-1]  # transformers gives the last layer only after the final norm
    return Measured(
        way=way,
        layers=layers,
        threads=torch.get_num_threads(),
        n_tokens=n_tokens,
        wall_seconds=wall,
        cpu_seconds=cpu,
        gemm_wall=max(rate[0] for rate in rates),
        gemm_cpu=max(rate[1] for rate in rates),
        gflop=2e-9 * n_tokens * sum(w.numel() for w in weights),
        peak_rss_gb=peak,
        load_average=load,
        norms=tuple(norms),
    )


def _weights(model: Any, last: int) -> list[Any]:
    blocks = model.blocks[: last + 1]
    return [p for block in blocks for p in block.parameters() if p.dim() == 2]


def _gemm_rate(model: Any, last: int, n_tokens: int = 512) -> tuple[float, float]:
    """Best GFLOP per wall and per processor second of `F.linear` with the model's own weights.

    One single-threaded stream of products a core, which is the faster way wherever it was tried.
    """
    import torch

    weights = _weights(model, last)
    inputs = {w.shape[1]: torch.ones(n_tokens, w.shape[1]) for w in weights}
    n_threads = torch.get_num_threads()

    def run() -> None:
        with torch.inference_mode():
            for weight in weights:
                torch.nn.functional.linear(inputs[weight.shape[1]], weight)

    gflop = 2e-9 * n_tokens * sum(w.numel() for w in weights) * n_threads
    best_wall = best_cpu = 0.0
    torch.set_num_threads(1)
    for _ in range(2):
        threads = [threading.Thread(target=run) for _ in range(n_threads)]
        wall, cpu = time.perf_counter(), time.process_time()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        best_wall = max(best_wall, gflop / (time.perf_counter() - wall))
        best_cpu = max(best_cpu, gflop / (time.process_time() - cpu))
    torch.set_num_threads(n_threads)
    return best_wall, best_cpu


def _reader(way: str, model: Any, layers: tuple[int, ...]) -> Callable[[list[str]], Any]:
    """What reads texts and gives their means, `[texts, layers, d_model]`."""
    if way == "emoctl":
        from emoctl.vectors.activations import text_means

        return lambda texts: text_means(model, texts, FROM_TOKEN, layers=layers)
    forward = _transformer_lens(model, layers) if way == WAYS[1] else _transformers(model, layers)
    return lambda texts: _peer_means(model, texts, layers, forward)


def _peer_means(model: Any, texts: list[str], layers: tuple[int, ...], forward: Any) -> Any:
    """The peers get emoctl's batches: padded as little, and of the size that suits the machine."""
    import torch

    from emoctl.models.prompts import encode
    from emoctl.vectors.batches import BATCH_TOKENS, plan_batches

    ids = [encode(model.tokenizer, text, special=True) for text in texts]
    means = torch.zeros(len(texts), len(layers), model.d_model)
    for batch in plan_batches(ids, BATCH_TOKENS):
        with torch.inference_mode():
            for at, resid in enumerate(forward(batch.padded(model.device))):
                for row, index in enumerate(batch.indices):
                    means[index, at] = resid[row, FROM_TOKEN : batch.lengths[row]].mean(0)
    return means


def _transformers(model: Any, layers: tuple[int, ...]) -> Callable[[Any], list[Any]]:
    def forward(ids: Any) -> list[Any]:
        states = model.module(
            ids, output_hidden_states=True, use_cache=False, logits_to_keep=1
        ).hidden_states
        return [states[layer + 1] for layer in layers]

    return forward


def _transformer_lens(model: Any, layers: tuple[int, ...]) -> Callable[[Any], list[Any]]:
    from emoctl.models.check import bridge_of
    from emoctl.models.hook_points import resid_post

    bridge = bridge_of(model)
    names = [resid_post(layer) for layer in layers]

    def forward(ids: Any) -> list[Any]:
        _, cache = bridge.run_with_cache(
            ids,
            return_type=None,
            names_filter=lambda name: name in names,
            stop_at_layer=max(layers) + 1,
        )
        return [cache[name] for name in names]

    return forward


def machine() -> dict[str, Any]:
    """What the figures belong to."""
    import torch
    import transformer_lens
    import transformers

    lines = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.split(":")[1].strip() for line in lines.splitlines() if "model name" in line]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "transformer_lens": getattr(transformer_lens, "__version__", "unknown"),
    }


def run_child(way: str, threads: int, layers: str, options: argparse.Namespace) -> Measured:
    """One measurement in a process of its own.

    Raises:
        subprocess.CalledProcessError: it failed; its own words are on standard error.
    """
    command = [sys.executable, "-m", "benchmarks.extraction", "--way", way, "--layers", layers]
    command += ["--texts", str(options.texts), "--model", options.model]
    set_threads = {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(
        command, stdout=subprocess.PIPE, check=True, text=True, env={**os.environ, **set_threads}
    )
    raw = json.loads(done.stdout.splitlines()[-1])
    return Measured(**{**raw, "norms": tuple(raw["norms"])})


def main() -> None:
    """Measure every way; print a table, and JSON to `--out`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--texts", type=int, default=60, help="built-in stories, again if need be")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--layers", choices=("all", "one"), help="only these")
    parser.add_argument("--out", type=Path, help="where the JSON goes; else to standard output")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        one = measure(options.way, options.layers, options.texts, options.model)
        print(json.dumps(asdict(one)))  # noqa: T201
        return
    cores = os.cpu_count() or 1
    measured: list[Measured] = []
    for layers in (options.layers,) if options.layers else ("all", "one"):
        for repeat in range(options.repeats):
            here = [run_child(*who, layers, options) for who in plan_order(cores, repeat)]
            check_agreement(here)
            measured += here
    rows = summarise(measured)
    record = {"machine": machine(), "rows": rows, "measured": [asdict(m) for m in measured]}
    print(table(rows))  # noqa: T201
    text = json.dumps(record, indent=1)
    if options.out:
        options.out.write_text(text, encoding="utf-8")
    else:
        print(text)  # noqa: T201


if __name__ == "__main__":
    main()
