"""A run folder full of rows → its tables, charts and summary: everything that needs no model.

It can be done again at any time, on any machine, from the folder alone.
"""

from typing import Any

from emoctl.analysis.results import Results, analyse
from emoctl.analysis.run_data import read_run
from emoctl.analysis.tables import write_tables
from emoctl.config import ExperimentConfig, load_config
from emoctl.report.charts import save_charts
from emoctl.report.markdown import summary_md
from emoctl.store.database import RunStore
from emoctl.store.manifest import Manifest, read_manifest
from emoctl.store.run_folder import RunFolder


def run_results(folder: RunFolder) -> Results:
    """Count and test what a run stored.

    Raises:
        StoreError: the folder is unreadable.
    """
    config = run_config(folder)
    with RunStore.open(folder.path, write=False) as store:
        data = read_run(store, config)
    return analyse(data, config.gates)


def run_config(folder: RunFolder) -> ExperimentConfig:
    """The config that a run was made with."""
    return load_config(str(folder.resolved_config))


def write_reports(folder: RunFolder, results: Results) -> None:
    """Write tables/, the charts and summary.md.

    Raises:
        StoreError: the folder cannot be written to.
    """
    write_tables(folder.tables, results.frames)
    save_charts(folder.path, results)
    manifest = read_manifest(folder)
    text = summary_md(
        results,
        run=folder.name,
        title=f"{manifest.name}: what steering did",
        about=_about(manifest, run_config(folder)),
    )
    folder.write_text_atomic(folder.summary, text)


def _origin(vectors: dict[str, Any]) -> str:
    given = vectors.get("imported")
    if not given:
        return f"{vectors.get('n_stories')} stories"
    return f"imported from {given['file_format']} (random controls alone)"


def _about(manifest: Manifest, config: ExperimentConfig) -> dict[str, str]:
    vectors, arithmetic = manifest.vectors, manifest.arithmetic
    layer = config.steering.layer
    return {
        "model": f"{manifest.model.id} ({manifest.model.weight_sha256[:19]}…)",
        "vectors": f"{_origin(vectors)}, {manifest.vectors_sha256 or 'none'}"[:60],
        "layer": f"{vectors.get('default_layer')} (two-thirds)"
        if layer == "two-thirds"
        else str(layer),
        "engine": f"{arithmetic.engine}, {arithmetic.dtype}, {arithmetic.device}, "
        f"reproducible: {arithmetic.reproducible}",
        "config digest": manifest.config_digest,
        "seed": str(manifest.seed),
    }
