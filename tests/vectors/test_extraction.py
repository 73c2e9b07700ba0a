"""Extraction from end to end, and where its file stands."""

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from toys import IDENTITY, toy_corpus, toy_model, words

from emoctl.config import ExperimentConfig
from emoctl.config.schema import RecipeConfig
from emoctl.errors import StoriesError
from emoctl.models.loading import LoadedModel
from emoctl.stories import Corpus, Story
from emoctl.vectors.activations import neutral_activations, text_means
from emoctl.vectors.cached import N_SHUFFLED, cached_files, cached_vectors, find_vectors
from emoctl.vectors.extraction import extract, make_basis
from emoctl.vectors.files import EmotionVectors, load_vectors
from emoctl.vectors.provenance import LAYER_CONVENTION

RECIPE = RecipeConfig(from_token=8)
CORPUS = toy_corpus()


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
        extract(model, corpus, RECIPE, path)
    one, two, turned, other = map(digest, paths)
    assert one == two
    assert one == turned, "the order of the files does not matter"
    assert one != other, "control"


def test_the_file_holds_what_was_returned(model: LoadedModel, tmp_path: Path) -> None:
    seen: list[int] = []
    vectors = extract(model, CORPUS, RECIPE, tmp_path / "deep" / "v", seen.append)
    loaded = load_vectors(tmp_path / "deep" / "v")
    assert torch.equal(loaded.vectors, vectors.vectors)
    assert loaded.provenance == vectors.provenance
    assert sum(seen) == len(CORPUS.stories) + len(CORPUS.neutral)


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


@pytest.mark.model
def test_built_in_vectors_read_stories_of_topics_they_never_saw(
    embedded_model: LoadedModel,
) -> None:
    from emoctl.cli.extraction import vectors_for

    config = ExperimentConfig.model_validate({"schema": "emoctl/1", "readouts": {"choice": {}}})
    said = vectors_for(config, embedded_model).vectors.provenance
    assert said.model.weight_sha256 == embedded_model.identity.weight_sha256
    assert said.held_out is not None
    assert said.held_out.nested >= 0.92
    assert said.held_out.by_layer[0] < 0.8, "control: word embeddings alone read less"
    assert said.held_out.n_classes == len(said.emotions)
    assert said.default_layer == 19


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
