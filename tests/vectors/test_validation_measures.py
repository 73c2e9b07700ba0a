"""What vectors are tried on: readers that must read nothing, fewer stories, messages, the lens."""

from dataclasses import replace

import pytest
import torch
from toys import toy_corpus, toy_model, words

from emoctl.config.schema import RecipeConfig
from emoctl.errors import ModelError, StoriesError, VectorError
from emoctl.models.prompts import render
from emoctl.scenarios.scenario import Message
from emoctl.stories import Story
from emoctl.stories.items import ImplicitMessage, IntensityTemplate, SeverityPair
from emoctl.vectors.extraction import extract
from emoctl.vectors.held_out import held_out_scores, ranks_of
from emoctl.vectors.recipe import NeutralBasis
from emoctl.vectors.validation.growth import read_with_fewer
from emoctl.vectors.validation.logit_lens import EmotionLayer, read_logit_lens
from emoctl.vectors.validation.material import Material, restricted
from emoctl.vectors.validation.measure import measure
from emoctl.vectors.validation.messages import read_messages
from emoctl.vectors.validation.null_readers import (
    embedding_means,
    random_direction_scores,
    shuffled_label_scores,
)
from emoctl.vectors.validation.whitened import whitened_scores

N_EMOTIONS, N_TOPICS, D_MODEL = 8, 6, 32
LABELS = [e for e in range(N_EMOTIONS) for _ in range(N_TOPICS)]
TOPICS = list(range(N_TOPICS)) * N_EMOTIONS
NOTHING = NeutralBasis((torch.zeros(0, D_MODEL),) * 2, (0.0,) * 2)
RECIPE = RecipeConfig(from_token=8)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOCTL_CACHE", str(tmp_path_factory.mktemp("cache")))


def draw(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def planted(noise: float = 0.5, n_layers: int = 2) -> torch.Tensor:
    emotion, topic = draw(N_EMOTIONS, D_MODEL, seed=1), draw(N_TOPICS, D_MODEL, seed=2)
    clean = emotion[LABELS] + topic[TOPICS]
    return torch.stack(
        [clean + noise * draw(*clean.shape, seed=3 + i) for i in range(n_layers)], dim=1
    )


def accuracy(scores: torch.Tensor, own: torch.Tensor) -> float:
    return float((ranks_of(scores, own) == 0).float().mean())


def test_null_readers_are_at_chance_where_the_vectors_are_not() -> None:
    made = planted()
    real = held_out_scores(made, LABELS, TOPICS, NOTHING)
    assert accuracy(real.nested, real.own) > 0.95, "control"
    draws = shuffled_label_scores(made, real, NOTHING, 4, seed=1)
    assert sum(accuracy(scores, own) for scores, own in draws) / 4 < 2 / N_EMOTIONS
    for _scores, own in draws:
        for topic in range(N_TOPICS):
            here = real.fold == topic
            assert own[here].sort().values.equal(real.own[here].sort().values)
        assert not own.equal(real.own)
    scores = random_direction_scores(made, real, NOTHING, seed=1)
    assert accuracy(scores, real.own) < 3 / N_EMOTIONS
    assert not scores.equal(random_direction_scores(made, real, NOTHING, seed=2))


def test_shuffled_labels_that_are_not_shuffled_read_as_the_vectors_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the null reader computes is the real thing, but for the permutation."""
    from emoctl.vectors.validation import null_readers

    made = planted()
    real = held_out_scores(made, LABELS, TOPICS, NOTHING)
    monkeypatch.setattr(null_readers, "permuted_within", lambda labels, *_: labels)
    ((scores, own),) = shuffled_label_scores(made, real, NOTHING, 1, seed=1)
    torch.testing.assert_close(scores, real.nested)
    assert own.equal(real.own)


def test_whitening_sees_through_loud_variation_within_emotions() -> None:
    loud = torch.nn.functional.normalize(draw(D_MODEL, seed=8), dim=0)
    noise = draw(len(LABELS), 2, 1, seed=9)
    made = planted(0.3) + 12 * noise * loud
    real = held_out_scores(made, LABELS, TOPICS, NOTHING)
    plain, whitened = real.nested, whitened_scores(made, real)
    assert accuracy(plain, real.own) < 0.7, "control: cosines are drowned"
    assert accuracy(whitened, real.own) > 0.9


def test_more_topics_read_better() -> None:
    made = planted(noise=4.0, n_layers=1)[:, 0]
    emotion, further_topic = draw(N_EMOTIONS, D_MODEL, seed=1), draw(3, D_MODEL, seed=20)
    own = [e for e in range(N_EMOTIONS) for _ in range(3)]
    further = emotion[own] + further_topic[[0, 1, 2] * N_EMOTIONS]
    basis = NeutralBasis((torch.zeros(0, D_MODEL),), (0.0,))
    grown = read_with_fewer(made, LABELS, TOPICS, basis, further, own, (1, 3, 6), 10, seed=1)
    assert [(g.n_topics, g.ranks.shape) for g in grown] == [
        (1, (10, 24)),
        (3, (10, 24)),
        (6, (1, 24)),
    ]
    shares = [(g.ranks == 0).mean() for g in grown]
    assert shares[0] < shares[1] < shares[2]


def test_messages_are_read_where_they_say() -> None:
    model = toy_model()
    texts = [words(n, seed=n) for n in (6, 9, 7)]
    read = read_messages(model, texts)
    for index, text in enumerate(texts):
        prompt = render(model.tokenizer, [Message(role="user", content=text)])
        ids = torch.tensor([prompt.token_ids])
        with torch.inference_mode():
            hidden = model.module(input_ids=ids, output_hidden_states=True).hidden_states
        for layer in range(model.n_layers - 1):
            resid = hidden[layer + 1][0]
            expected = resid[prompt.reading_position].float()
            torch.testing.assert_close(read.before_response[index, layer], expected)
            assert not torch.allclose(resid[-2].float(), expected), "control: another token"
    same = read_messages(model, texts[:1])
    torch.testing.assert_close(same.before_response[0], read.before_response[0])


def test_a_template_never_enters_the_mean_over_a_message() -> None:
    """With equal messages inside another frame, the mean is over the message's own tokens."""
    model = toy_model()
    texts = [words(8, seed=1), words(8, seed=2)]
    read = read_messages(model, texts)
    prompt = render(model.tokenizer, [Message(role="user", content=texts[0])])
    whole = torch.tensor([prompt.token_ids])
    with torch.inference_mode():
        hidden = model.module(input_ids=whole, output_hidden_states=True).hidden_states[1][0]
    own = model.tokenizer(texts[0], add_special_tokens=False).input_ids
    start = next(
        i
        for i in range(len(prompt.token_ids))
        if list(prompt.token_ids[i : i + len(own)]) == list(own)
    )
    expected = hidden[start : start + len(own)].mean(0).float()
    torch.testing.assert_close(read.over_message[0, 0], expected)
    assert not torch.allclose(hidden.mean(0).float(), expected, atol=1e-4), "control"


def test_the_lens_finds_the_token_that_a_vector_was_made_from() -> None:
    model = toy_model()
    unembedding = model.module.get_output_embeddings().weight
    vectors = torch.stack([unembedding[11], -unembedding[11], unembedding[20]]).float()
    layer = EmotionLayer(
        3, ("w11", "w12", "w20"), vectors.detach(), torch.zeros(model.d_model) + 0.01, 50.0
    )
    up, down, _ = read_logit_lens(model, layer, n_tokens=3)
    assert "w11" in up.up[0]
    assert "w11" in down.down[0]
    assert "w11" not in down.up, "control"
    assert up.own_percentile > 0.95
    assert up.layer == 3


def test_a_contrast_leaves_out_what_every_vector_raises() -> None:
    model = toy_model()
    unembedding = model.module.get_output_embeddings().weight.detach().float()
    common = 3 * unembedding[30]
    names = tuple(f"w{i}" for i in range(11, 23))
    vectors = torch.stack([unembedding[i] + common for i in range(11, 23)])
    layer = EmotionLayer(0, names, vectors, torch.zeros(model.d_model) + 0.01, 50.0)
    rows = read_logit_lens(model, layer, n_tokens=5)
    assert all("w30" in row.up for row in rows), "control: it is what all of them raise"
    assert sum("w30" in row.contrast_up for row in rows) <= 2
    assert sum(row.emotion in row.contrast_up for row in rows) >= 10


def test_a_model_without_a_known_final_norm_is_refused() -> None:
    model = toy_model()
    headless = replace(model, module=_WithoutNorm(model.module))
    with pytest.raises(ModelError, match="no final norm"):
        read_logit_lens(headless, EmotionLayer(0, ("a",), torch.ones(1, 32), torch.zeros(32), 1.0))


class _WithoutNorm:
    def __init__(self, module: torch.nn.Module) -> None:
        self.module = module
        self.base_model = object()

    def get_output_embeddings(self) -> torch.nn.Module:
        return self.module.get_output_embeddings()


def test_embedding_means_are_of_the_tokens_that_the_recipe_reads() -> None:
    model = toy_model()
    text = words(20, seed=5)
    made = embedding_means(model, [text], 8)
    ids = model.tokenizer(text).input_ids[8:]
    table = model.module.get_input_embeddings().weight
    torch.testing.assert_close(made[0, 0], table[ids].float().mean(0))
    assert not torch.allclose(made, embedding_means(model, [text], 9)), "control"


def material() -> Material:
    return Material(
        corpus=toy_corpus(4),
        further=(Story("calm", "else", words(20, seed=60)), Story("happy", "x", words(21, 61))),
        implicit=tuple(
            ImplicitMessage(emotion=e, text=words(9, seed=70 + k))
            for k, e in enumerate(("calm", "happy", "desperate"))
        ),
        intensity=(
            IntensityTemplate(
                name="n",
                emotion="calm",
                sign=-1,
                text="w5 {x} w6",
                control="w7 {x} w8",
                values=(1, 2, 4),
                why="w",
            ),
        ),
        severity=(
            SeverityPair(name="p", emotion="calm", sign=1, mild="w5 w6", severe="w5 odd w6"),
        ),
    )


def test_a_validation_measures_everything_once_and_the_same_twice() -> None:
    model = toy_model()
    seen: list[int] = []
    found = measure(model, material(), RECIPE, on_text=seen.append)
    assert sum(seen) == 12 + 4 + 2 + (3 + 3 + 3 + 2)
    assert found.vectors.shape == (3, 4, 32)
    assert [r.name for r in found.readers][:2] == ["emotion vectors", "vectors, whitened"]
    assert all(r.scores.shape == (12, 3) for r in found.readers)
    assert found.message_cosines["over message"].shape == (11, 3, 4)
    assert {row.emotion for row in found.lens} == {"calm", "desperate", "happy"}
    again = measure(model, material(), RECIPE, layer=1, logit_lens=False)
    assert (again.vectors == found.vectors).all()
    assert again.layer == 1
    assert again.recommended_layer == found.recommended_layer
    assert again.lens == ()


def test_a_validation_is_of_the_vectors_that_extraction_makes(tmp_path_factory) -> None:  # type: ignore[no-untyped-def]
    model = toy_model()
    found = measure(model, material(), RECIPE)
    made = extract(model, toy_corpus(4), RECIPE, tmp_path_factory.mktemp("v") / "v", fresh=True)
    assert (made.vectors.numpy() == found.vectors).all()
    held = made.provenance.held_out
    assert held is not None
    assert held.by_layer == found.top1_by_layer
    assert held.recommended_layer == found.recommended_layer
    assert held.chosen_layers == found.chosen_layers


def test_material_of_other_emotions_is_left_out_and_said() -> None:
    whole = material()
    assert restricted(whole) == (whole, ())
    alien = replace(whole, implicit=(*whole.implicit, ImplicitMessage(emotion="odd", text="w5")))
    assert restricted(alien) == (whole, ("the corpus lacks odd: 1 × implicit message left out",))
    assert alien.spans["numbers"] == slice(4, 7)
    none = replace(whole, severity=(whole.severity[0].model_copy(update={"emotion": "odd"}),))
    with pytest.raises(StoriesError, match="no severity pair is of an emotion of the corpus"):
        restricted(none)


@pytest.mark.parametrize("change", [{"topic": "topic 1"}, {"text": None}])
def test_a_story_that_vectors_are_made_from_is_none_to_try_them_on(
    change: dict[str, str | None],
) -> None:
    whole = material()
    known = (
        {**change} if change.get("text", "") is not None else {"text": whole.corpus.stories[0].text}
    )
    seen = replace(whole, further=(replace(whole.further[0], **known), *whole.further[1:]))
    with pytest.raises(StoriesError, match="is in the corpus, or on a topic of it"):
        restricted(seen)


def test_an_uneven_corpus_says_what_it_cannot_say(tmp_path_factory: pytest.TempPathFactory) -> None:
    """An emotion on half of the topics: some halvings leave it out; on two sides, none may be
    left."""
    whole = toy_corpus(8)
    few = tuple(
        s
        for s in whole.stories
        if s.emotion != "calm" or s.topic in ("topic 0", "topic 1", "topic 2")
    )
    made = extract(
        toy_model(), replace(whole, stories=few), RECIPE, tmp_path_factory.mktemp("v") / "v"
    )
    held = made.provenance.held_out
    assert held is not None
    assert held.split_half is not None
    assert len(held.split_half) == 4
    assert held.recommended_layer is not None


def test_draws_that_leave_an_emotion_without_a_story_are_left_out() -> None:
    made = planted(n_layers=1)[:, 0]
    kept = [i for i, (e, t) in enumerate(zip(LABELS, TOPICS, strict=True)) if e or t < 2]
    labels, topics = [LABELS[i] for i in kept], [TOPICS[i] for i in kept]
    basis = NeutralBasis((torch.zeros(0, D_MODEL),), (0.0,))
    grown = read_with_fewer(made[kept], labels, topics, basis, made[:3], [0, 0, 0], (1, 6), 12, 1)
    assert grown[0].n_topics == 1
    assert 0 < len(grown[0].ranks) < 12
    assert len(grown[1].ranks) == 1


def test_activations_that_are_not_finite_are_refused_and_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from emoctl.models.cache import cache_root
    from emoctl.vectors import kept as kept_module

    broken = torch.full((1, 4, 32), float("inf"))
    monkeypatch.setattr(kept_module, "text_means", lambda *_args, **_keys: broken)
    with pytest.raises(VectorError, match="not finite"):
        kept_module.kept_text_means(toy_model(), [words(20, seed=1)], 8)
    assert not list(cache_root().rglob("*.safetensors"))


def test_scores_that_are_all_equal_are_never_right() -> None:
    from emoctl.vectors.held_out import ranks_of

    assert ranks_of(torch.zeros(3, 5), torch.tensor([0, 1, 4])).tolist() == [4, 4, 4]
    assert ranks_of(torch.eye(3), torch.arange(3)).tolist() == [0, 0, 0]
