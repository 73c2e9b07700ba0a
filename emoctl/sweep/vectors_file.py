"""vectors.safetensors of a run: the direction of every condition, so that a run can be replayed
from its folder alone, and every direction that was read.

    c-0123456789ab   [d_model]                     unit direction, float32; zeros for unsteered
    readings         [layers, emotions, d_model]   unit directions; where readings were taken
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open

from emoctl.engine.readings import Probe
from emoctl.engine.steering import Steering
from emoctl.errors import StoreError
from emoctl.store.records import ConditionRecord
from emoctl.sweep.conditions import Condition, condition_id
from emoctl.vectors.files import write_safetensors
from emoctl.vectors.provenance import Provenance


def save_directions(
    conditions: Mapping[str, Condition],
    provenance: Provenance,
    path: Path,
    probe: Probe | None = None,
) -> str:
    """Write every condition's direction, and the probe's; `sha256:…` of the file.

    Raises:
        VectorError: the disk does not take it.
    """
    tensors = {name: condition.direction.contiguous() for name, condition in conditions.items()}
    if probe:
        tensors["readings"] = probe.directions.contiguous()
    write_safetensors(tensors, {"emoctl": provenance.model_dump_json()}, path)
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


def load_steering(record: ConditionRecord, path: Path) -> Steering:
    """A stored condition as the engine takes it.

    Raises:
        StoreError: the file lacks the condition, or holds other bytes than its id says.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            direction = file.get_tensor(record.id)
    except (OSError, SafetensorError) as error:
        raise StoreError(
            f"{path.name} has no direction for {record.id}: {error}",
            hint="the run folder is incomplete",
        ) from None
    steered = bool(direction.any())
    made = condition_id(direction, record.layer, record.strength, record.positions)
    if steered and made != record.id:
        raise StoreError(
            f"{path.name}: the direction of {record.id} has other bytes than its id says",
            hint="the run folder was changed after the run",
        )
    return Steering(record.layer, direction * record.coefficient, record.positions == "all")
