"""The cache: an entry is made once, whole or not at all, whoever asks and whenever it is cut."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from emoctl.errors import ModelError
from emoctl.models.cache import MARKER, cache_root, cached_entry, make_entry


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMOCTL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Builder:
    """Writes two files, and counts how often it was asked to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.calls = 0
        self.error = error

    def __call__(self, folder: Path) -> None:
        self.calls += 1
        (folder / "config.json").write_text("{}")
        if self.error:
            raise self.error
        (folder / "weights").write_bytes(b"1234")


def entry_files(root: Path) -> list[str]:
    return sorted(p.name for p in (root / "models").iterdir() if p.suffix != ".lock")


def test_the_environment_moves_the_cache(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_root() == own_cache
    monkeypatch.delenv("EMOCTL_CACHE")
    assert cache_root() != own_cache
    assert cache_root().name == "emoctl"


def test_an_entry_is_built_once(own_cache: Path) -> None:
    builder = Builder()
    assert cached_entry("k") is None
    first = make_entry("k", builder)
    assert make_entry("k", builder) == cached_entry("k") == first
    assert builder.calls == 1
    assert sorted(p.name for p in first.iterdir()) == ["config.json", MARKER, "weights"]
    assert entry_files(own_cache) == ["k"]


@pytest.mark.parametrize("damage", ["truncate", "remove", "add", "no marker", "bad marker"])
def test_a_damaged_entry_is_built_again(damage: str) -> None:
    builder = Builder()
    folder = make_entry("k", builder)
    match damage:
        case "truncate":
            (folder / "weights").write_bytes(b"12")
        case "remove":
            (folder / "weights").unlink()
        case "add":
            (folder / "more").write_text("x")
        case "no marker":
            (folder / MARKER).unlink()
        case "bad marker":
            (folder / MARKER).write_text("[]")
    assert cached_entry("k") is None
    assert make_entry("k", builder) == folder
    assert builder.calls == 2
    assert (folder / "weights").read_bytes() == b"1234"


def test_a_failed_build_leaves_nothing_behind(own_cache: Path) -> None:
    with pytest.raises(ModelError, match="not the pinned one"):
        make_entry("k", Builder(ModelError("not the pinned one")))
    assert entry_files(own_cache) == []
    make_entry("k", Builder())
    assert entry_files(own_cache) == ["k"]


def test_a_full_disk_is_one_line_with_a_remedy(own_cache: Path) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(ModelError, match="cannot be written: No space left") as caught:
        make_entry("k", Builder(full))
    assert caught.value.hint is not None
    assert "EMOCTL_CACHE" in caught.value.hint
    assert entry_files(own_cache) == []


def test_what_a_killed_process_left_is_cleared(own_cache: Path) -> None:
    leftover = own_cache / "models" / ".tmp-k-abc"
    leftover.mkdir(parents=True)
    (leftover / "weights").write_bytes(b"half")
    other = own_cache / "models" / ".tmp-other-abc"
    other.mkdir()
    make_entry("k", Builder())
    assert entry_files(own_cache) == [".tmp-other-abc", "k"]


TWO_AT_ONCE = """
import sys, time
from pathlib import Path
from emoctl.models.cache import make_entry

here, me = Path(sys.argv[1]), sys.argv[2]

def build(folder):
    (here / f"built-by-{me}").touch()
    (folder / "a").write_text("x")
    while len(list(here.glob("started-*"))) < 2:
        time.sleep(0.01)
    time.sleep(0.3)
    (folder / "b").write_text("y")

(here / f"started-{me}").touch()
print(sorted(p.name for p in make_entry("shared", build).iterdir()))
"""


def test_two_processes_that_ask_at_once_build_one_entry(tmp_path: Path) -> None:
    """The builder does not finish before the other process has started to ask."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TWO_AT_ONCE, str(tmp_path), str(me)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for me in range(2)
    ]
    printed = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert [p.returncode for p in processes] == [0, 0]
    assert printed == [str(["a", "b", MARKER])] * 2
    assert len(list(tmp_path.glob("built-by-*"))) == 1
