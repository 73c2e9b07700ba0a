"""What is averaged, over which tokens, and of which layer."""

import copy
import weakref
from functools import partial
from pathlib import Path

import pytest
import torch
from tiny_models import CONFIGS, tiny_model
from toys import toy_model, words

from emoctl.config import ModelConfig
from emoctl.errors import PromptError, StoriesError
from emoctl.models.check import bridge_of
from emoctl.models.hook_points import resid_post
from emoctl.models.loading import LoadedModel, load_model, wrap_model
from emoctl.models.prompts import encode
from emoctl.vectors import activations
from emoctl.vectors.activations import (
    N_NEUTRAL_TOKENS,
    SINK_POSITIONS,
    Reading,
    neutral_activations,
    text_means,
)
from emoctl.vectors.batches import BATCH_TOKENS, Batch, length_batches
from emoctl.vectors.forward import show_resid

TEXTS = [words(n, seed=n) for n in (40, 12, 60, 13, 25)]


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return toy_model()


def resid(model: LoadedModel, text: str) -> torch.Tensor:
    """[pos, layers, d_model] of one text alone, from transformers' own hidden states.

    Of the last layer those are after the final norm, so its hook is asked.
    """
    ids = torch.tensor([encode(model.tokenizer, text, special=True)])
    kept: list[torch.Tensor] = []
    handle = model.blocks[-1].register_forward_hook(
        lambda _m, _i, out: kept.append(out[0] if isinstance(out, tuple) else out)
    )
    with torch.inference_mode():
        states = model.module(ids, output_hidden_states=True).hidden_states
    handle.remove()
    return torch.stack([*(s[0] for s in states[1:-1]), kept[0][0]], dim=1)


def close(a: torch.Tensor, b: torch.Tensor, within: float = 1e-6) -> bool:
    return bool((a.double() - b.double()).abs().max() <= within * b.double().abs().max())


def capture(model: LoadedModel, ids: torch.Tensor) -> dict[str, torch.Tensor]:
    """resid_post of every layer, under TransformerLens' names."""
    captured: dict[str, torch.Tensor] = {}
    with torch.inference_mode():
        show_resid(
            model,
            ids,
            range(model.n_layers),
            lambda layer, resid: captured.update({resid_post(layer): resid.clone()}),
        )
    return captured


@pytest.mark.parametrize("name", CONFIGS)
def test_means_equal_one_text_at_a_time_in_float64(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The means that text_means hands out are float32; here they are taken before that.
    exact: list[torch.Tensor] = []
    pooled = activations._batch_means

    def keep(*given):  # type: ignore[no-untyped-def]
        exact.append(pooled(*given))
        return exact[-1]

    monkeypatch.setattr(activations, "_batch_means", keep)
    model = toy_model(name)
    text_means(model, TEXTS, 8)
    by_length = sorted(TEXTS, key=lambda text: len(text.split()))
    by_hand = torch.stack([resid(model, text)[8:].mean(0) for text in by_length])
    off_by_one = torch.stack([resid(model, text)[8:-1].mean(0) for text in by_length])

    assert len(exact) == 1, "they share a batch, so all but the longest are padded"
    # Transformers' eager attention has its softmax in float32 whatever the model's dtype.
    within = 1e-6 if name == "gemma2" else 1e-12
    assert exact[0].dtype == torch.float64
    assert close(exact[0], by_hand, within)
    assert not close(exact[0], off_by_one, 100 * within), "control"


def test_padding_would_matter_if_it_were_pooled(
    model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = text_means(model, TEXTS, 8)

    def careless(batch: Batch) -> tuple[int, ...]:
        longest = max(len(tokens) for tokens in batch.token_ids)
        return (longest,) * len(batch.token_ids)

    monkeypatch.setattr(Batch, "lengths", property(careless))
    wrong = text_means(model, TEXTS, 8)
    longest = 2
    assert close(wrong[longest], right[longest]), "the longest text has no padding"
    assert not any(close(wrong[i], right[i]) for i in range(len(TEXTS)) if i != longest)


@pytest.mark.parametrize("name", CONFIGS)
def test_what_padding_consists_of_reaches_no_text(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = toy_model(name)
    right = text_means(model, TEXTS, 8)
    plain = Batch.padded

    def filled(batch: Batch, device: torch.device, first: int | None = None) -> torch.Tensor:
        array = plain(batch, device)
        for row, n_tokens in enumerate(batch.lengths):
            array[row, n_tokens:] = 77
            array[row, 0] = array[row, 0] if first is None else first
        return array

    monkeypatch.setattr(Batch, "padded", filled)
    assert torch.equal(text_means(model, TEXTS, 8), right)
    monkeypatch.setattr(Batch, "padded", lambda batch, device: filled(batch, device, first=77))
    assert not close(text_means(model, TEXTS, 8), right), "control: a token before them does"


def test_batches_stay_within_budget_and_hold_every_text_once() -> None:
    lengths = [300, 7, 2100, 90, 90, 512, 4, 1000, 60]
    batches = length_batches(lengths)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    padded = [len(batch) * max(lengths[i] for i in batch) for batch in batches]
    assert all(
        size <= BATCH_TOKENS or len(batch) == 1 for size, batch in zip(padded, batches, strict=True)
    )
    assert max(padded) > BATCH_TOKENS, "control: one text alone exceeds the budget"


def test_batching_changes_nothing(model: LoadedModel) -> None:
    one = text_means(model, TEXTS, 8)
    seen: list[int] = []
    several = text_means(model, TEXTS, 8, seen.append, reading=Reading(batch_tokens=60))
    assert close(several, one)
    assert len(seen) > 1, "control: several batches"
    assert sum(seen) == len(TEXTS)


def test_some_layers_are_those_of_all(model: LoadedModel) -> None:
    every = text_means(model, TEXTS, 8)
    some = text_means(model, TEXTS, 8, layers=(2, 0))
    assert torch.equal(some, every[:, [2, 0]])
    assert not torch.equal(some, every[:, [0, 2]]), "control: in the order asked for"
    for wrong in ((), (4,), (-1,), (1, 1)):
        with pytest.raises(ValueError, match="layers"):
            text_means(model, TEXTS, 8, layers=wrong)


@pytest.mark.parametrize("token_covariance", [False, True])
def test_bits_do_not_depend_on_the_number_of_workers(
    model: LoadedModel, token_covariance: bool
) -> None:
    def read(n_workers: int) -> list[torch.Tensor | None]:
        reading = Reading(batch_tokens=60, n_workers=n_workers)
        neutral = neutral_activations(
            model, TEXTS, 8, token_covariance=token_covariance, reading=reading
        )
        made = (neutral.means, neutral.mean_norm, neutral.tokens, neutral.token_covariance)
        return [text_means(model, TEXTS, 8, reading=reading), *made]

    for one, three in zip(read(1), read(3), strict=True):
        assert (one is None and three is None) or torch.equal(one, three)


def test_no_activation_outlives_its_layer(
    model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[weakref.ref[torch.Tensor]] = []
    alive: list[int] = []
    hoard: list[torch.Tensor] = []

    def watched(own, ids, layers, on_resid, *, keeps):  # type: ignore[no-untyped-def]
        def note(layer: int, resid: torch.Tensor) -> None:
            on_resid(layer, resid)
            seen.append(weakref.ref(resid))
            hoard.extend([resid] * keeps)
            alive.append(sum(ref() is not None for ref in seen))

        show_resid(own, ids, layers, note)

    def most_alive(*, keeps: bool) -> int:
        alive.clear(), seen.clear()
        monkeypatch.setattr(activations, "show_resid", partial(watched, keeps=keeps))
        text_means(model, TEXTS * 4, 8, reading=Reading(100, 1))
        neutral_activations(model, TEXTS, 8, token_covariance=True, reading=Reading(100, 1))
        return max(alive)

    assert most_alive(keeps=False) <= 2, "a block's input and its output"
    assert most_alive(keeps=True) > 40, "control: one a layer and batch"


def test_token_50_is_counted_from_0(model: LoadedModel) -> None:
    text = words(51, seed=1)
    mean = text_means(model, [text], 50)[0]
    tokens = resid(model, text)
    assert close(mean, tokens[50])
    assert not close(mean, tokens[49:].mean(0)), "control: one token earlier is another mean"


def test_a_bos_counts_as_token_0() -> None:
    model = toy_model(adds_bos=True)
    text = words(50, seed=1)
    assert close(text_means(model, [text], 50)[0], resid(model, text)[50])
    with pytest.raises(StoriesError):
        text_means(toy_model(), [text], 50)


@pytest.mark.parametrize("n", [1, 49, 50])
def test_a_short_text_is_refused_with_its_words(model: LoadedModel, n: int) -> None:
    text = words(n, seed=n)
    for read in (
        lambda: text_means(model, [TEXTS[2], text], 50),
        lambda: neutral_activations(model, [TEXTS[2], text], 50, token_covariance=False),
    ):
        with pytest.raises(StoriesError, match=f"has {n} tokens") as caught:
            read()
        assert text[:50] in str(caught.value)
        assert "\n" not in str(caught.value)
        assert caught.value.hint is not None


def test_51_tokens_are_enough(model: LoadedModel) -> None:
    assert torch.isfinite(text_means(model, [words(51, seed=1)], 50)).all()


def test_a_text_beyond_the_context_is_refused(model: LoadedModel) -> None:
    text_means(model, [words(model.context, seed=1)], 50)
    with pytest.raises(PromptError, match="needs 257 tokens"):
        text_means(model, [words(model.context + 1, seed=1)], 50)


@pytest.mark.parametrize("name", CONFIGS)
def test_layer_i_is_the_hidden_state_i_plus_1(name: str) -> None:
    model = tiny_model(name)
    ids = torch.arange(5, 35)[None]
    with torch.inference_mode():
        captured = capture(model, ids)
        states = model.module(ids, output_hidden_states=True).hidden_states
    assert list(captured) == [resid_post(i) for i in range(model.n_layers)]
    for layer in range(model.n_layers - 1):
        assert torch.equal(captured[resid_post(layer)], states[layer + 1])
        assert not close(captured[resid_post(layer)], states[layer]), "control: off by one"
    assert not close(captured[resid_post(model.n_layers - 1)], states[-1]), "after the final norm"


def test_layer_i_is_transformer_lens_hook_out(world: Path) -> None:
    model = load_model(ModelConfig(id=str(world / "models" / "tiny"), dtype="float64"))
    ids = torch.arange(5, 45)[None]
    with torch.inference_mode():
        captured = capture(model, ids)
        _, theirs = bridge_of(model).run_with_cache(ids)
    for layer in range(model.n_layers):
        assert close(captured[resid_post(layer)], theirs[resid_post(layer)])
    assert not close(captured[resid_post(0)], theirs[resid_post(1)]), "control: another layer"


def test_the_norm_leaves_sinks_out() -> None:
    plain = toy_model()
    module = copy.deepcopy(plain.module)
    with torch.no_grad():
        module.get_input_embeddings().weight[4] *= 1000
    model = wrap_model(module, plain.tokenizer, plain.identity)
    texts = [words(n, seed=n, first="w4") for n in (30, 40)]
    neutral = neutral_activations(model, texts, 8, token_covariance=False)

    tokens = [resid(model, text) for text in texts]
    kept = torch.cat([t[SINK_POSITIONS:] for t in tokens]).norm(dim=-1).mean(0)
    every = torch.cat(tokens).norm(dim=-1).mean(0)
    assert neutral.n_norm_tokens == 30 + 40 - 2 * SINK_POSITIONS
    assert close(neutral.mean_norm, kept)
    assert (every > 3 * kept).all(), "control: the planted token would rule the mean"
    assert neutral.tokens.norm(dim=-1).max() < every.max(), "nor is it among the sampled tokens"


def test_neutral_means_are_those_of_text_means(model: LoadedModel) -> None:
    neutral = neutral_activations(model, TEXTS, 8, token_covariance=False)
    assert close(neutral.means, text_means(model, TEXTS, 8))
    assert not close(neutral.means, text_means(model, TEXTS, 9)), "control"
    assert neutral.token_covariance is None


def test_neutral_tokens_and_covariance_are_those_of_the_texts(model: LoadedModel) -> None:
    texts = [*TEXTS, words(90, seed=90)]
    neutral = neutral_activations(model, texts, 8, token_covariance=True)
    tokens = torch.cat([resid(model, text)[SINK_POSITIONS:] for text in texts])
    even = torch.linspace(0, len(tokens) - 1, N_NEUTRAL_TOKENS).round().long()

    assert len(tokens) > N_NEUTRAL_TOKENS
    assert close(neutral.tokens, tokens[even])
    assert neutral.token_covariance is not None
    for layer in range(model.n_layers):
        expected = torch.cov(tokens[:, layer].T, correction=0)
        assert close(neutral.token_covariance[layer], expected)
    uncentred = tokens[:, 0].T @ tokens[:, 0] / len(tokens)
    assert not close(neutral.token_covariance[0], uncentred), "control: it is centred"


def test_fewer_tokens_than_wanted_are_all_kept(model: LoadedModel) -> None:
    neutral = neutral_activations(model, [TEXTS[1]], 8, token_covariance=False)
    assert close(neutral.tokens, resid(model, TEXTS[1])[SINK_POSITIONS:])


@pytest.mark.model
def test_padding_on_the_embedded_model(embedded_model: LoadedModel) -> None:
    model = embedded_model
    texts = ["The ferry left at nine, and the quay was empty. " * n for n in (2, 5)]
    together = text_means(model, texts, 10)
    alone = torch.cat([text_means(model, [text], 10) for text in texts])
    assert torch.allclose(together, alone, rtol=1e-3, atol=1e-3 * float(alone.abs().median()))


@pytest.mark.model
def test_bits_do_not_depend_on_the_number_of_threads(embedded_model: LoadedModel) -> None:
    texts = ["The ferry left at nine, and the quay was empty. " * n for n in (5, 7, 20, 21, 30)]
    before = torch.get_num_threads()
    means = []
    for n_threads in (1, 2):
        torch.set_num_threads(n_threads)
        means.append(text_means(embedded_model, texts, 10, layers=(0, 9)))
    other_batches = text_means(embedded_model, texts, 10, layers=(0, 9), reading=Reading(2048))
    torch.set_num_threads(before)
    assert torch.equal(*means)
    assert not torch.equal(means[0], other_batches), "control: other batches do round otherwise"
    assert close(means[0], other_batches, 1e-5)
