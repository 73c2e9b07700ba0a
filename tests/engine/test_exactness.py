"""The exact profile: with one thread, a row's bits do not depend on what shares its batch."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_models import tiny_model
from transformers import DynamicCache

from emoctl.engine import exactness, slots
from emoctl.engine.exactness import probe_exactness
from emoctl.models.loading import LoadedModel
from emoctl.sweep.executor import one_thread


def decoded(model: LoadedModel, rows: int, steps: int = 3) -> torch.Tensor:
    """Logits of row 0 over a few steps, in a batch of `rows`."""
    with torch.inference_mode(), one_thread():
        prompt = torch.arange(200)[None] * 13 % 40_000
        cache = DynamicCache()
        model.module(prompt, past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache.batch_repeat_interleave(rows)
        seen = []
        for step in range(steps):
            tokens = (torch.arange(rows) * 97 + step * 31) % 40_000
            output = model.module(tokens[:, None], past_key_values=cache, use_cache=True)
            seen.append(output.logits[0, -1])
    return torch.stack(seen)


@pytest.mark.model
def test_logits_are_bit_equal_in_batches_of_every_size_that_is_run(
    embedded_model: LoadedModel,
) -> None:
    alone = decoded(embedded_model, rows=4)

    for rows in (5, 7, 16, 32):
        assert torch.equal(decoded(embedded_model, rows), alone), rows
    assert not torch.equal(decoded(embedded_model, rows=1), alone), (
        "control: an unpadded batch of one takes another kernel path"
    )


@pytest.mark.model
@pytest.mark.parametrize("engine", ["reference", "cascade"])
def test_the_probe_says_what_it_saw(embedded_model: LoadedModel, engine: str) -> None:
    with one_thread():
        seen = probe_exactness(embedded_model, 16, engine)

    assert seen.exact
    assert seen.single_row_differs
    assert seen.row_counts == (4, 5, 7, 9, 16)


def test_the_probe_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose kernels round by batch size is told apart."""
    model = tiny_model(dtype=torch.float32)
    plain = exactness._last_logits

    def noisy(model: LoadedModel, ids: torch.Tensor, cache: DynamicCache) -> torch.Tensor:
        return plain(model, ids, cache) + 1e-6 * ids.shape[0]

    monkeypatch.setattr(exactness, "_last_logits", noisy)

    assert not probe_exactness(model, rows=8).exact


def test_rows_of_one_condition_share_a_prefix_in_the_probe_as_in_a_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A prefix a row would be tried in products that no run has."""
    sizes, real = set(), slots.groups_of

    def watched(*args: Any) -> Any:
        groups = real(*args)
        sizes.add(tuple(sorted(group.n for group in groups[-1])))
        return groups

    monkeypatch.setattr(slots, "groups_of", watched)
    probe_exactness(tiny_model(dtype=torch.float32), 9, "cascade")

    assert (4, 5) in sizes, "of nine rows each third is steered, and so is the last, a twin"


def test_one_thread_gives_the_threads_back() -> None:
    before = torch.get_num_threads()
    with one_thread():
        inside = torch.get_num_threads()

    assert SimpleNamespace(inside=inside, after=torch.get_num_threads()) == SimpleNamespace(
        inside=1, after=before
    )
