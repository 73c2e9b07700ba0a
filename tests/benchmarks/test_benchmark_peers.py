"""Peers that need nothing but emoctl's own environment, on a random tiny Llama."""

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import benchmarks
from benchmarks.environments import OWN, REPENG, Environment, NotInstalledError, make_environment
from benchmarks.gate import TOLERANCE, difference, judge
from benchmarks.job import Condition, Job
from benchmarks.peers import fair_hf, naive, ours, plain
from benchmarks.peers.hooked import load_module
from benchmarks.processes import Layout, Peer, module_of
from benchmarks.roofline import read_shape
from benchmarks.serving import Refused


@pytest.fixture(scope="module")
def job(tiny: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """Greedy, so that answers can be compared; unsteered first."""
    folder = tiny.save_model(tmp_path_factory.mktemp("tiny"))
    vector = tuple(3.0 if i % 2 else -3.0 for i in range(tiny.D_MODEL))
    return Job(
        str(folder),
        tuple(range(40, 60)),
        (Condition(1, (0.0,) * tiny.D_MODEL), Condition(1, vector)),
        rows=4,
        new_tokens=3,
        seed=5,
        greedy=True,
        keep_outputs=True,
    )


@pytest.mark.parametrize("peer", [fair_hf, naive], ids=lambda peer: peer.__name__)
def test_a_peer_equals_plain_passes_with_a_hook(peer: object, job: Job) -> None:
    module = load_module(job)
    reference = plain.run(module, job)
    outcome = peer.run(module, job)  # type: ignore[attr-defined]
    verdict = judge(job, reference, outcome)
    assert verdict.passed, str(verdict)
    assert outcome.n_tokens == 2 * 4 * 3
    assert 0 < outcome.prefill_seconds < outcome.total_seconds
    assert outcome.step_seconds is not None and outcome.step_seconds > 0
    assert not judge(job, reference, replace(outcome, tokens=())).passed


def test_ours_equals_plain_passes_with_a_hook(job: Job) -> None:
    reference = plain.run(load_module(job), job)
    verdict = judge(job, reference, ours.run(ours.load(job), job))
    assert verdict.passed, str(verdict)
    assert verdict.error <= TOLERANCE


@pytest.mark.parametrize("switch", ["no-cascade", "no-split"])
def test_a_part_that_is_switched_off_changes_no_logits(switch: str, job: Job) -> None:
    reference = plain.run(load_module(job), job)
    verdict = judge(job, reference, ours.run(ours.load(job), replace(job, variant=switch)))
    assert verdict.passed, str(verdict)


def test_switches_reach_the_engine(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    from emoctl.engine import cascade, slots

    seen: list[tuple[int, int]] = []

    def groups_of(*arguments: Any) -> Any:
        groups = cascade.groups_of(*arguments)
        seen.append((len(groups[0]), len(groups[-1])))
        return groups

    monkeypatch.setattr(slots, "groups_of", groups_of)
    models = ours.load(job)
    two = replace(job, conditions=(job.conditions[1], replace(job.conditions[1], layer=0)))
    ours.run(models, two)
    assert seen[-1] == (1, 2)  # below the lowest steered layer, one prompt for both
    ours.run(models, replace(two, variant="no-split"))
    assert seen[-1] == (2, 2)
    monkeypatch.delattr("benchmarks.peers.switches._row_by_row")
    with pytest.raises(NameError):
        ours.run(models, replace(two, variant="no-cascade"))


def test_eight_bits_change_the_logits_a_little(job: Job) -> None:
    models = ours.load(job)
    exact = ours.run(models, job).first_logits[0]
    rounded = ours.run(models, replace(job, variant="int8")).first_logits[0]
    assert TOLERANCE < difference(exact, rounded) < 0.5
    assert ours.run(models, job).first_logits[0] == exact


def test_ours_refuses_a_switch_that_it_does_not_have(job: Job) -> None:
    with pytest.raises(Refused, match="no switch 'warp'"):
        ours.run(ours.load(job), replace(job, variant="warp"))


def test_sampling_draws_other_tokens_than_the_likeliest(job: Job) -> None:
    module = load_module(job)
    sampled = fair_hf.run(module, replace(job, greedy=False))
    assert len(set(sampled.tokens)) > 2
    assert sampled.tokens == fair_hf.run(module, replace(job, greedy=False)).tokens
    assert sampled.tokens != fair_hf.run(module, replace(job, greedy=False, seed=6)).tokens


def test_the_shape_is_read_from_the_models_config(job: Job) -> None:
    shape = read_shape(Path(job.model))
    module = load_module(job)
    linear = [m.weight.numel() for n, m in module.named_modules() if hasattr(m, "in_features")]
    assert shape.linear_weights == sum(linear)


def test_a_peer_in_processes_of_its_own_answers_and_a_broken_one_is_a_refusal(job: Job) -> None:
    small = replace(job, rows=2)
    with Peer(module_of("fair-hf"), OWN, Layout(2, 1)) as peer:
        outcome, load = peer.ask(small, 120)
    assert outcome.refusal is None
    assert outcome.n_tokens == 2 * 2 * 3
    assert outcome.threads == 1
    assert outcome.peak_rss_bytes > 2 * 50e6
    assert 0 <= load.others_share <= 1.5
    with Peer(module_of("fair-hf"), OWN, Layout(1, 1)) as peer:
        broken, _ = peer.ask(replace(job, model="/nowhere"), 120)
    assert broken.refusal is not None and broken.refusal.startswith("ended with code 1")


def test_an_environment_that_pip_cannot_make_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMOCTL_CACHE", str(tmp_path))
    monkeypatch.setattr("benchmarks.environments.sys.executable", "/bin/false")
    with pytest.raises(NotInstalledError):
        make_environment(Environment("none", ("no-such-thing==0",)))
    assert str(REPENG.folder).startswith(str(tmp_path))
    assert OWN.python == Path("/bin/false")


def test_emoctl_does_not_import_the_benchmarks() -> None:
    root = Path(benchmarks.__file__).parent.parent
    texts = [path.read_text(encoding="utf-8") for path in (root / "emoctl").rglob("*.py")]
    assert texts
    assert not [text for text in texts if "benchmarks" in text and "import benchmarks" in text]
    assert not [text for text in texts if "from benchmarks" in text]
