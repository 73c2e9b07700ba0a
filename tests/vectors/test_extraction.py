"""Extraction from end to end, and where its file stands."""

from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from toys import IDENTITY, toy_corpus, toy_model, words

from emoctl.config.schema import RecipeConfig
from emoctl.errors import ConfigError, StoriesError, VectorError
from emoctl.models.cache import cache_root
from emoctl.models.loading import LoadedModel
from emoctl.stories import Corpus, Story
from emoctl.vectors.activations import neutral_activations, text_means
from emoctl.vectors.cached import N_SHUFFLED, cached_files, cached_vectors, find_vectors
from emoctl.vectors.extraction import extract, make_basis
from emoctl.vectors.files import EmotionVectors, load_vectors
from emoctl.vectors.provenance import LAYER_CONVENTION

RECIPE = RecipeConfig(from_token=8)
CORPUS = toy_corpus()


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Activations that a test keeps are not another program's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMOCTL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return toy_model()


@pytest.fixture(scope="module")
def made(model: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> EmotionVectors:
    return extract(model, CORPUS, RECIPE, tmp_path_factory.mktemp("v") / "v.safetensors")


def digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def changed(**story: str) -> Corpus:
    return replace(CORPUS, stories=(replace(CORPUS.stories[0], **story), *CORPUS.stories[1:]))


def test_equal_inputs_give_equal_bytes(model: LoadedModel, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("one", "two", "reversed", "other")]
    upside_down = Corpus(CORPUS.stories[::-1], CORPUS.neutral[::-1])
    corpora = (CORPUS, CORPUS, upside_down, changed(text=words(30, seed=77)))
    for path, corpus in zip(paths, corpora, strict=True):
        extract(model, corpus, RECIPE, path, fresh=True)
    one, two, turned, other = map(digest, paths)
    assert one == two
    assert one == turned, "the order of the files does not matter"
    assert one != other, "control"


def test_the_file_holds_what_was_returned(model: LoadedModel, tmp_path: Path) -> None:
    seen: list[int] = []
    vectors = extract(model, CORPUS, RECIPE, tmp_path / "deep" / "v", seen.append, fresh=True)
    loaded = load_vectors(tmp_path / "deep" / "v")
    assert torch.equal(loaded.vectors, vectors.vectors)
    assert loaded.provenance == vectors.provenance
    assert sum(seen) == len(CORPUS.stories) + len(CORPUS.neutral)


def test_kept_activations_are_not_computed_again(model: LoadedModel, tmp_path: Path) -> None:
    corpus, seen = changed(text=words(31, seed=78)), []
    first = extract(model, corpus, RECIPE, tmp_path / "v", seen.append)
    assert seen, "control: the first time, texts are read"
    seen.clear()
    again = extract(model, corpus, RECIPE, tmp_path / "w", seen.append)
    assert not seen
    assert digest(tmp_path / "v") == digest(tmp_path / "w")
    extract(model, corpus, RecipeConfig(from_token=9), tmp_path / "x", seen.append)
    assert seen, "another first token is another activation"
    (folder,) = {p.parent for p in cache_root().rglob("activations/*.safetensors")}
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:100])
    assert torch.equal(extract(model, corpus, RECIPE, tmp_path / "y").vectors, again.vectors)
    assert torch.equal(first.vectors, again.vectors)


def test_few_layers_are_those_layers_and_nothing_else(
    model: LoadedModel, made: EmotionVectors, tmp_path: Path
) -> None:
    recipe = RecipeConfig(from_token=8, layers=(2, 1))
    few = extract(model, CORPUS, recipe, tmp_path / "v")
    assert few.provenance.layers == (1, 2)
    for name in ("vectors", "shuffled", "neutral_tokens"):
        ours, all_layers = getattr(few, name), getattr(made, name)
        assert torch.equal(ours[:, [1, 2]], all_layers[:, [1, 2]]), name
        assert not ours[:, [0, 3]].any(), name
        assert all_layers[:, [0, 3]].any(), "control"
    held, of_all = few.provenance.held_out, made.provenance.held_out
    assert held is not None
    assert of_all is not None
    assert held.by_layer == of_all.by_layer[1:3]
    assert set(held.chosen_layers) <= {1, 2}
    assert load_vectors(tmp_path / "v").vector("calm", 2).any()
    with pytest.raises(VectorError, match="extracted, for layer 1–2 alone"):
        load_vectors(tmp_path / "v").vector("calm", 3)
    with pytest.raises(ConfigError, match=r"recipe\.layers names 4"):
        extract(model, CORPUS, RecipeConfig(from_token=8, layers=(4,)), tmp_path / "w")


def test_vectors_equal_the_recipe_done_by_hand(model: LoadedModel, made: EmotionVectors) -> None:
    means = torch.stack(
        [
            text_means(model, [s.text for s in CORPUS.stories if s.emotion == e], 8).mean(0)
            for e in made.emotions
        ]
    )
    neutral = neutral_activations(
        model, [t.text for t in CORPUS.neutral], 8, token_covariance=False
    )
    by_hand = make_basis(neutral, RECIPE).remove(means - means.mean(0))
    assert made.emotions == ("calm", "desperate", "happy")
    assert torch.allclose(made.vectors, by_hand, rtol=1e-3, atol=1e-4 * float(by_hand.abs().max()))
    assert not torch.allclose(made.vectors, means - means.mean(0), rtol=1e-3), "control"
    assert torch.equal(made.mean_norm, neutral.mean_norm)


def test_provenance_says_what_decided(made: EmotionVectors, model: LoadedModel) -> None:
    said = made.provenance
    assert said.layer_convention == LAYER_CONVENTION
    assert said.model == model.identity
    assert said.dtype == "float64"
    assert (said.n_layers, said.d_model, said.default_layer) == (4, 32, 2)
    assert said.corpus_sha256 == CORPUS.digest
    assert (said.n_stories, said.n_neutral) == (9, 3)
    assert said.recipe == RECIPE.model_dump()
    assert said.neutral_components == (1, 1, 1, 1)
    assert all(0.5 <= share <= 1 for share in said.neutral_shares)
    assert said.n_norm_tokens == sum(len(t.text.split()) - 8 for t in CORPUS.neutral)
    assert said.held_out is not None
    assert said.held_out.n_classes == 3
    assert made.shuffled.shape == (N_SHUFFLED, 4, 32)


def test_two_topics_give_vectors_without_an_accuracy(model: LoadedModel, tmp_path: Path) -> None:
    assert extract(model, toy_corpus(2), RECIPE, tmp_path / "v").provenance.held_out is None


def test_a_short_story_stops_it(model: LoadedModel, tmp_path: Path) -> None:
    with pytest.raises(StoriesError, match="w5 w6 w7"):
        extract(model, changed(text="w5 w6 w7"), RECIPE, tmp_path / "v")
    assert not list(tmp_path.iterdir())


def test_tokens_as_neutral_observations_are_another_recipe(
    model: LoadedModel, made: EmotionVectors, tmp_path: Path
) -> None:
    by_token = RecipeConfig(from_token=8, neutral_level="token", neutral_components=4)
    vectors = extract(model, CORPUS, by_token, tmp_path / "v")
    assert vectors.provenance.neutral_components == (4, 4, 4, 4)
    assert not torch.allclose(vectors.vectors, made.vectors, rtol=1e-2)
    assert torch.equal(vectors.neutral_tokens, made.neutral_tokens)


def test_the_cached_path_is_a_function_of_what_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMOCTL_CACHE", str(tmp_path))

    def path(
        corpus: Corpus = CORPUS, recipe: RecipeConfig = RECIPE, dtype: str = "float32", **who: str
    ) -> Path:
        return cached_vectors(replace(IDENTITY, **who), corpus, recipe, dtype)

    others = [
        path(changed(text="w5 " * 60)),
        path(changed(emotion="sad")),
        path(changed(topic="elsewhere")),
        path(replace(CORPUS, neutral=CORPUS.neutral[1:])),
        path(replace(CORPUS, stories=(*CORPUS.stories, Story("sad", "t", "w5 " * 60)))),
        path(recipe=RecipeConfig(from_token=9)),
        path(recipe=RecipeConfig(from_token=8, neutral_variance=0.4)),
        path(recipe=RecipeConfig(from_token=8, neutral_level="token")),
        path(recipe=RecipeConfig(from_token=8, neutral_components=2)),
        path(dtype="float64"),
        path(weight_sha256="sha256:else"),
        path(tokenizer_sha256="sha256:else"),
    ]
    assert len({path(), *others}) == 1 + len(others)
    upside_down = Corpus(CORPUS.stories[::-1], CORPUS.neutral[::-1])
    assert path() == path(id="another/name", source="hub") == path(upside_down)
    assert path().parent == tmp_path / "vectors"


def test_cached_vectors_are_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOCTL_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert cached_files() == []
    path = cached_vectors(IDENTITY, CORPUS, RECIPE, "float32")
    assert find_vectors(path.stem) == Path(path.stem)
    path.parent.mkdir()
    path.touch()
    assert cached_files() == [path]
    assert find_vectors(path.stem) == path
    assert find_vectors("else.safetensors") == Path("else.safetensors")
    (tmp_path / path.stem).touch()
    assert find_vectors(path.stem) == Path(path.stem), "a file that is there comes first"


def test_an_emotion_on_two_topics_has_no_held_out_figure(
    model: LoadedModel, made: EmotionVectors, tmp_path: Path
) -> None:
    rare = tuple(s for s in CORPUS.stories if s.emotion != "calm" or s.topic != CORPUS.topics[0])

    unbalanced = extract(model, replace(CORPUS, stories=rare), RECIPE, tmp_path / "v")

    assert unbalanced.provenance.held_out is None
    assert made.provenance.held_out is not None, "control"
    assert unbalanced.emotions == made.emotions


def test_one_neutral_text_has_no_variance_to_project_out(
    model: LoadedModel, tmp_path: Path
) -> None:
    lone = replace(CORPUS, neutral=CORPUS.neutral[:1])
    with pytest.raises(StoriesError, match="1 neutral text has no variance"):
        extract(model, lone, RECIPE, tmp_path / "v")

    plain = RecipeConfig(from_token=8, neutral_variance=0.0)
    assert extract(model, lone, plain, tmp_path / "v").provenance.neutral_shares[0] == 0
    assert load_vectors(tmp_path / "v").emotions == ("calm", "desperate", "happy")
