"""Play one stored rollout again, and hold it against what was stored."""

from dataclasses import dataclass

from emoctl.config import ExperimentConfig, load_config
from emoctl.engine.choice import EngineName, EngineSetup, make_engine
from emoctl.engine.noise import NoiseKey
from emoctl.engine.rollout import RolloutRequest
from emoctl.engine.slots import MIN_ROWS
from emoctl.errors import StoreError
from emoctl.models.loading import LoadedModel
from emoctl.models.prompts import render
from emoctl.scenarios import Message, Scenario
from emoctl.store.database import RunStore
from emoctl.store.manifest import Manifest, read_manifest
from emoctl.store.records import ConditionRecord, RolloutRecord, VariantRecord
from emoctl.store.run_folder import RunFolder
from emoctl.sweep.executor import one_thread
from emoctl.sweep.tasks import sampling_params
from emoctl.sweep.vectors_file import load_steering


@dataclass(frozen=True)
class Replay:
    """A stored rollout beside its second playing."""

    stored: RolloutRecord
    token_ids: tuple[int, ...]
    text: str

    @property
    def same(self) -> bool:
        """Whether every token is the one that was stored."""
        return self.token_ids == self.stored.token_ids

    @property
    def first_difference(self) -> int | None:
        """Index of the first token that differs; None where none does."""
        if self.same:
            return None
        pairs = zip(self.token_ids, self.stored.token_ids, strict=False)
        unequal = (i for i, (a, b) in enumerate(pairs) if a != b)
        return next(unequal, min(len(self.token_ids), len(self.stored.token_ids)))


@dataclass(frozen=True)
class StoredRollout:
    """Everything of a run that playing one rollout again needs."""

    record: RolloutRecord
    condition: ConditionRecord
    variant: VariantRecord
    scenario: Scenario
    config: ExperimentConfig
    manifest: Manifest


def find_rollout(folder: RunFolder, rollout_id: str) -> StoredRollout:
    """Read one rollout and its circumstances.

    Raises:
        StoreError: the run is unreadable, or holds no such rollout.
    """
    with RunStore.open(folder.path, write=False) as store:
        record = store.rollout(rollout_id)
        (condition,) = store.conditions(ids=[record.condition_id])
        variants = store.variants(scenario=record.scenario)
        scenarios = store.scenarios()
    return StoredRollout(
        record=record,
        condition=condition,
        variant=next(v for v in variants if v.variant == record.variant),
        scenario=next(s for s in scenarios if s.name == record.scenario),
        config=load_config(folder.resolved_config),
        manifest=read_manifest(folder),
    )


def replay(stored: StoredRollout, model: LoadedModel, folder: RunFolder) -> Replay:
    """Play it again: same noise, same prompt, same direction, in a batch of its own.

    Raises:
        StoreError: the model, its template or the directions are not those of the run.
        SteeringError: the rollout was not steered as its condition says.
    """
    kept, ours = stored.manifest.model, model.identity
    if kept.weight_sha256 != ours.weight_sha256 or kept.tokenizer_sha256 != ours.tokenizer_sha256:
        raise StoreError(
            f"run {folder.name} was made with other weights or another tokenizer than {ours.id} "
            "has now",
            hint=f"load {kept.id} as it was, revision {kept.revision}",
        )
    messages = [Message(role=role, content=text) for role, text in stored.variant.messages]  # type: ignore[arg-type]
    prompt = render(model.tokenizer, messages, stored.variant.lead)
    if prompt.text != stored.variant.rendered:
        raise StoreError(
            "the prompt renders otherwise than it did in the run",
            hint="the model's chat template changed",
        )
    record, config = stored.record, stored.config
    noise = NoiseKey(config.seed, record.scenario, record.variant, record.rollout)
    steering = load_steering(stored.condition, folder.vectors)
    request = RolloutRequest(prompt.token_ids, prompt.response_start, steering, noise)
    stop = stored.scenario.variants[record.variant].stop
    engine = make_engine(model, EngineSetup(_engine_of(stored), MIN_ROWS))
    with one_thread():
        (completion,) = engine.play([request], sampling_params(model, config.sampling, stop))
    text = stored.variant.lead + model.tokenizer.decode(
        list(completion.token_ids), skip_special_tokens=True
    )
    return Replay(record, completion.token_ids, text)


def _engine_of(stored: StoredRollout) -> EngineName:
    """The engine that played it.

    Raises:
        StoreError: this version has no such engine.
    """
    name = stored.manifest.arithmetic.engine
    for known in ("cascade", "reference"):
        if name == known:
            return known
    raise StoreError(
        f"the run was made by an engine {name!r} that this version does not have",
        hint="use the emoctl version that its manifest.json names",
    )
