"""The built-in corpus and the embedded model: what the first page of the docs says."""

import pytest

from emoctl.config import ExperimentConfig
from emoctl.models.loading import LoadedModel
from emoctl.stories.clusters import TWELVE


@pytest.mark.model
def test_built_in_vectors_read_stories_of_topics_they_never_saw(
    embedded_model: LoadedModel,
) -> None:
    from emoctl.cli.extraction import vectors_for

    config = ExperimentConfig.model_validate(
        {
            "schema": "emoctl/1",
            "stories": {"emotions": sorted(TWELVE)},
            "readouts": {"choice": {}},
        }
    )
    said = vectors_for(config, embedded_model).vectors.provenance
    assert said.model.weight_sha256 == embedded_model.identity.weight_sha256
    assert said.held_out is not None
    assert said.held_out.nested >= 0.84, "0.868 was seen; 0.938 with vectors of all 171"
    assert said.held_out.by_layer[0] < 0.7, "control: the first layer reads less"
    assert said.held_out.n_classes == len(said.emotions) == 12
    assert said.default_layer == 19
