"""A manifest says what a run was, and nothing of where it lay."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest

from emoctl.errors import StoreError
from emoctl.store.environment import collect_environment
from emoctl.store.manifest import (
    Manifest,
    portable_argv,
    read_manifest,
    write_manifest,
)
from emoctl.store.run_folder import RunFolder

HOME = Path("/home/someone/project")


def test_a_manifest_comes_back_as_it_was_written(run: RunFolder, sample: ModuleType) -> None:
    manifest = sample.make_manifest()
    write_manifest(run, manifest)
    assert read_manifest(run) == manifest
    ended = manifest.finished(datetime(2026, 11, 22, tzinfo=UTC), {"locked-out": {"threat": 3}})
    assert ended != manifest
    assert ended.counts == {"locked-out": {"threat": 3}}
    write_manifest(run, ended)
    assert read_manifest(run) == ended
    assert json.loads(run.manifest.read_text())["schema"] == "emoctl-manifest/1"


@pytest.mark.parametrize(
    ("argument", "kept"),
    [
        ("/home/someone/project/configs/a.yaml", "configs/a.yaml"),
        ("/usr/local/bin/emoctl", "emoctl"),
        ("--out=/home/someone/elsewhere/runs", "--out=runs"),
        ("--set=stories=/home/someone/project/s.jsonl", "--set=stories=s.jsonl"),
        ("stories.emotional=/home/someone/project/s.jsonl", "stories.emotional=s.jsonl"),
        ("C:\\Users\\someone\\runs", "runs"),
        ("~/models/tiny", "tiny"),
        ("--scale=-0.05,0.05", "--scale=-0.05,0.05"),
        ("org/model", "org/model"),
        ("configs/a.yaml", "configs/a.yaml"),
    ],
)
def test_a_command_line_keeps_no_absolute_path(
    argument: str, kept: str, sample: ModuleType
) -> None:
    (made,) = portable_argv([argument], HOME)
    manifest = sample.make_manifest(argv=(made,))
    assert manifest.argv == (kept,)


def test_no_absolute_path_is_held_wherever_it_was_put(run: RunFolder, sample: ModuleType) -> None:
    known = sample.make_manifest().model_dump(by_alias=True)
    known["model"]["id"] = "/home/someone/models/tiny"
    known["argv"] = ["/usr/bin/emoctl", "--out=/home/someone/my runs"]
    known["vectors"] = {"made": [{"from": "read from /home/someone/x.jsonl, then ~/y/z.txt"}]}
    known["arithmetic"]["probe"] = {"cache": "file:///var/cache/k", "see": "https://a.org/b/c"}
    assert "/home/someone" in json.dumps(known, default=str)
    write_manifest(run, Manifest.model_validate(known))
    text = run.manifest.read_text()
    assert not re.search(r"/home|/usr|/var|~/", text)
    manifest = read_manifest(run)
    assert manifest.model.id == "tiny"
    assert manifest.vectors == {"made": [{"from": "read from x.jsonl, then z.txt"}]}
    assert manifest.arithmetic.probe == {"cache": "k", "see": "https://a.org/b/c"}


def test_the_environment_tells_versions_and_no_place() -> None:
    environment = collect_environment()
    assert environment.packages["torch"]
    assert environment.cores >= 1
    assert environment.python.startswith("3.")
    said = environment.model_dump_json()
    assert str(Path.home()) not in said or str(Path.home()) == "/"
    assert (environment.git_revision is None) == (environment.git_dirty is None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"schema": "emoctl-manifest/2"}', "schema 'emoctl-manifest/2'"),
        ("[]", "schema None"),
        ("{", "not JSON"),
        ('{"schema": "emoctl-manifest/1", "name": "x"}', "argv: field required"),
    ],
)
def test_a_manifest_that_cannot_be_read_is_refused(run: RunFolder, text: str, message: str) -> None:
    run.manifest.write_text(text)
    with pytest.raises(StoreError, match=message):
        read_manifest(run)


def test_a_manifest_of_before_packed_weights_were_kept_is_read(run: RunFolder) -> None:
    content = json.loads(run.manifest.read_text())
    del content["arithmetic"]["packed_weights"]
    run.manifest.write_text(json.dumps(content))
    assert read_manifest(run).arithmetic.packed_weights is None


def test_a_key_that_it_does_not_know_is_refused(run: RunFolder) -> None:
    content = json.loads(run.manifest.read_text())
    run.manifest.write_text(json.dumps({**content, "extra": 1}))
    with pytest.raises(StoreError, match="extra: extra inputs"):
        read_manifest(run)
    run.manifest.unlink()
    with pytest.raises(StoreError, match="missing"):
        read_manifest(run)
