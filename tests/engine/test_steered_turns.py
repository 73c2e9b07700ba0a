"""Turns and stops: rows that environments answer, and every way in which a row ends."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from naive import float64_throughout
from recorded import (
    LONG,
    SHORT,
    TOLERANCE,
    conditions,
    ended,
    model_of,
    record,
    referred,
    request,
    steering,
    turns,
    worst_error,
)
from tiny_models import EOS

from emoctl.engine.play import SteeredEngine
from emoctl.engine.reference import ReferenceEngine
from emoctl.engine.rollout import Completion, RolloutRequest, SamplingParams
from emoctl.engine.slots import MIN_ROWS

pytestmark = pytest.mark.usefixtures("shapes_unchecked")
PARAMS = SamplingParams(9, 1.0, ended=ended)


class Environment:
    """Answers the first turns of a row, each row as often as its number says, and remembers."""

    def __init__(self, n_answers: Callable[[int], int]) -> None:
        self.n_answers = n_answers
        self.answers: dict[int, list[list[int]]] = {}
        self.heard: dict[int, list[list[int]]] = {}

    def __call__(self, index: int, written: Sequence[int]) -> list[int] | None:
        self.heard.setdefault(index, []).append(list(written))
        given = self.answers.setdefault(index, [])
        if len(given) == self.n_answers(index):
            return None
        given.append([20 + (index + 3 * i) % 50 for i in range(1 + (5 * index + len(given)) % 11)])
        return given[-1]


@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt-oss"])
def test_turns_equal_one_long_pass(name: str) -> None:
    model = model_of(name)
    cells = [(p, lead, c) for c in conditions() for p, lead in ((LONG, 0), (SHORT, 3))]
    asked = [request(c, i, p, lead) for i, (p, lead, c) in enumerate(cells)]
    environment = Environment(lambda index: index % 3)
    with float64_throughout():
        played = record(SteeredEngine(model, 5), asked, PARAMS, environment)
        for i, (row, done) in enumerate(zip(asked, played.completions, strict=True)):
            answers = environment.answers[i]
            wanted = referred(model, row, done, answers=answers)
            assert (played.logits[i] - wanted).abs().max() <= TOLERANCE * wanted.abs().max()
            for turn, answer in enumerate(answers):
                changed = [*answers[:turn], [answer[0] + 1, *answer[1:]], *answers[turn + 1 :]]
                other = referred(model, row, done, answers=changed)
                kept = done.turn_ends[turn]
                assert (other - wanted)[:kept].abs().max() < 1e-6
                assert (other - wanted)[kept:].abs().amax(1).min() > 1e-6, "control"

    for i, (row, done) in enumerate(zip(asked, played.completions, strict=True)):
        answers = environment.answers[i]
        assert len(done.turn_ends) == len(answers) + 1 == i % 3 + 1
        assert environment.heard[i] == [list(turn) for turn in turns(done)]
        n_fed = len(row.prompt) + len(done.token_ids) - 1 + sum(map(len, answers))
        start = row.steering.steer_from(row.response_start)
        assert done.count.n_steered == (0 if row.steering.is_zero else n_fed - start)
        assert done.count.mean_added_norm == pytest.approx(float(row.steering.added.norm()))
    assert len({c.turn_ends for c in played.completions}) > 8, "rows are answered at any time"


def by_index(done: Sequence[Completion]) -> list[Completion]:
    return sorted(done, key=lambda completion: completion.index)


def test_turns_equal_those_of_the_reference_engine() -> None:
    model = model_of("qwen3")
    asked = [request(c, i, LONG) for i, c in enumerate([*conditions(), *conditions()])]
    with float64_throughout():
        theirs = by_index(
            list(ReferenceEngine(model, 5).play(asked, PARAMS, Environment(lambda i: i % 3)))
        )
        ours = by_index(
            list(SteeredEngine(model, 5).play(asked, PARAMS, Environment(lambda i: i % 3)))
        )
    assert_same(ours, theirs)


def assert_same(ours: Sequence[Completion], theirs: Sequence[Completion]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert one.index == other.index
        assert (one.token_ids, one.stop, one.turn_ends) == (
            other.token_ids,
            other.stop,
            other.turn_ends,
        )
        assert one.mean_logprob == pytest.approx(other.mean_logprob, rel=1e-9)
        assert one.count.n_steered == other.count.n_steered
        assert one.count.mean_added_norm == pytest.approx(other.count.mean_added_norm, rel=1e-9)


def test_turns_draw_from_noise_of_their_own() -> None:
    """Where logits are the same in two turns, draws are not: the noise is another."""
    model = replace(model_of("llama"), eos_ids=frozenset())
    asked = [request(steering(2, 0.0), i) for i in range(12)]
    flat = SamplingParams(6, 1e6)
    (turn, later) = zip(
        *(
            turns(done)
            for done in by_index(
                list(SteeredEngine(model, 6).play(asked, flat, Environment(lambda _: 1)))
            )
        ),
        strict=True,
    )
    assert all(a != b for a, b in zip(turn, later, strict=True))
    second = [replace(row, noise=replace(row.noise, turn=1)) for row in asked]
    again = by_index(list(SteeredEngine(model, 6).play(second, flat)))
    assert [c.token_ids for c in again] == list(later), "control: at no temperature logits matter"


def test_a_row_whose_answer_has_no_room_ends_for_its_length() -> None:
    model = model_of("gpt2")
    n_answer = model.context - len(SHORT) - 20
    params = SamplingParams(9, 1.0, ended=lambda turn: len(turn) == 3)
    asked = [request(c, i) for i, c in enumerate(conditions())]

    def long_answer(_index: int, _written: Sequence[int]) -> list[int]:
        return [5] * n_answer

    for engine in (SteeredEngine(model, 4), ReferenceEngine(model, 4)):
        done = list(engine.play(asked, params, long_answer))
        assert {(c.stop, len(c.turn_ends)) for c in done} == {("length", 2)}
        ends = list(engine.play(asked, params))
        assert {c.stop for c in ends} == {"end"}, "control: one turn ends of itself"


@pytest.mark.parametrize("poll", [1, 8])
def test_no_row_is_fed_past_the_context(poll: int) -> None:
    """GPT-2 has no position there: the table of its embedding ends."""
    model = replace(model_of("gpt2"), eos_ids=frozenset())
    room = 13
    prompt = (1, *(5 + i % 90 for i in range(model.context - room - 1)))
    asked = [request(c, i, prompt) for i, c in enumerate(conditions())]
    engine = SteeredEngine(model, 4)
    engine.poll = poll

    done = list(engine.play(asked, SamplingParams(room, 1.0)))

    assert {(c.stop, len(c.token_ids)) for c in done} == {("length", room)}


@pytest.mark.parametrize("poll", [1, 8])
def test_turns_stop_where_the_context_ends(poll: int) -> None:
    model = replace(model_of("gpt2"), eos_ids=frozenset())
    answer = [7] * (model.context - len(SHORT) - 9 - 4)
    asked = [request(c, i) for i, c in enumerate(conditions())]
    for engine in (SteeredEngine(model, 4), ReferenceEngine(model, 4)):
        if isinstance(engine, SteeredEngine):
            engine.poll = poll
        done = list(
            engine.play(asked, SamplingParams(9, 1.0), lambda i, _: answer if i % 2 else None)
        )
        for completion in done:
            n_fed = len(SHORT) + len(completion.token_ids) - 1
            assert completion.stop == "length"
            assert n_fed + (len(answer) if len(completion.turn_ends) > 1 else 0) <= model.context


ENDS: dict[str, Callable[[int], SamplingParams]] = {
    "of itself": lambda n: SamplingParams(n, 1.0),
    "by a stop text": lambda n: SamplingParams(n, 1.0, ended=ended),
    "decided": lambda n: SamplingParams(n, 1.0, decided=ended),
    "both": lambda n: SamplingParams(
        n, 1.0, ended=lambda turn: turn[-1] % 9 == 0, decided=lambda turn: turn[-1] % 9 < 2
    ),
    "in a nucleus": lambda n: SamplingParams(n, 1.3, top_p=0.8, ended=ended),
    "at once": lambda _: SamplingParams(1, 1.0),
    "at no temperature": lambda n: SamplingParams(n, 0.0),
}


@pytest.mark.parametrize("how", ENDS)
def test_completions_equal_those_of_the_reference_engine(how: str) -> None:
    """Whether it is looked at every token or every eighth."""
    model, params = model_of("qwen2"), ENDS[how](16)
    asked = [request(c, i, LONG, 2) for i, c in enumerate([*conditions(), *conditions()[:3]])]
    engine = SteeredEngine(model, 5)
    with float64_throughout():
        theirs = by_index(list(ReferenceEngine(model, 5).play(asked, params)))
        for poll in (1, 8):
            engine.poll = poll
            ours = by_index(list(engine.play(asked, params)))
            assert_same(ours, theirs)
    for done in ours:
        written = list(done.token_ids)
        assert done.stop == (
            "end"
            if written[-1] == EOS or params.ended(written)
            else "decided"
            if params.decided(written)
            else "length"
        )
        for earlier in range(1, len(written)):
            assert written[earlier - 1] != EOS and not params.ended(written[:earlier])
            assert not params.decided(written[:earlier])
        assert done.stop != "length" or len(written) == params.max_new_tokens
    stops = {c.stop for c in ours}
    assert ("decided" in stops) == (how in ("decided", "both"))
    assert how in ("at once", "at no temperature") or "end" in stops or how == "decided"


def test_first_tokens_may_end_rows() -> None:
    """Every row that is seated ends at once, and so does each that takes its place."""
    model = replace(model_of("llama"), eos_ids=frozenset(range(97)))
    asked = [request(c, i) for i, c in enumerate(conditions())]
    done = list(SteeredEngine(model, 4).play(asked, SamplingParams(9, 1.0)))
    assert [c.index for c in by_index(done)] == list(range(7))
    assert {(c.stop, len(c.token_ids)) for c in done} == {("end", 1)}


@pytest.mark.parametrize("n", range(MIN_ROWS + 1))
def test_fewer_requests_than_rows_of_a_pass(n: int) -> None:
    model = model_of("mistral")
    asked = [request(c, i, LONG) for i, c in enumerate(conditions()[1 : n + 1])]
    with float64_throughout():
        played = record(SteeredEngine(model, 16), asked, SamplingParams(7, 1.0))
        assert not asked or worst_error(model, asked, played) <= TOLERANCE
    assert len(played.completions) == n


def test_a_row_is_yielded_as_soon_as_it_ends() -> None:
    """Before others are seated: who listens may store it at once."""
    model = model_of("llama")
    asked = [request(c, i) for i, c in enumerate(conditions())]
    params = SamplingParams(40, 1.0, ended=lambda turn: len(turn) == 2)
    playing = SteeredEngine(model, 4).play(asked, params)
    first: RolloutRequest = asked[next(playing).index]
    assert first in asked[:4]
    playing.close()
