"""Who sits where: every request is seated once, in order, and live slots have no gaps."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from emoctl.engine.schedule import Admission, Move, Schedule


class Room:
    """Slots that believe only what they are told."""

    def __init__(self) -> None:
        self.sitting: dict[int, int] = {}
        self.seated: list[int] = []

    def tell(self, events: Sequence[Admission | Move], leaving: Sequence[int]) -> None:
        gone = set(leaving)
        for event in events:
            if isinstance(event, Move):
                assert event.source not in gone, "only a row that goes on is moved"
                assert event.target in gone, "and only where a row has left"
                assert event.source > event.target
                self.sitting[event.target] = self.sitting.pop(event.source)
                gone = (gone - {event.target}) | {event.source}
            else:
                assert event.slot in gone or event.slot not in self.sitting
                self.sitting[event.slot] = event.request
                self.seated.append(event.request)
                gone.discard(event.slot)
        for slot in gone:
            self.sitting.pop(slot, None)


@given(st.integers(0, 40), st.integers(1, 9), st.data())
def test_every_request_is_seated_once_in_order(
    n_requests: int, n_slots: int, data: st.DataObject
) -> None:
    schedule, room = Schedule(n_requests, n_slots), Room()
    room.tell(schedule.admit(), [])
    finished: list[int] = []

    while schedule.live:
        n = len(schedule.live)
        assert room.sitting == dict(enumerate(schedule.live)), "live slots are 0 … n − 1"
        n_waiting = n_requests - len(room.seated)
        assert n == n_slots or n_waiting == 0, "no slot is idle while one waits"
        leaving = data.draw(st.sets(st.integers(0, n - 1), min_size=1), label="leaving")
        finished += [schedule.live[slot] for slot in leaving]
        room.tell(schedule.retire(leaving), sorted(leaving))

    assert room.seated == list(range(n_requests))
    assert sorted(finished) == list(range(n_requests))
    assert room.sitting == {}


@given(st.integers(1, 9), st.data())
def test_rows_that_stay_are_moved_at_most_once(n_slots: int, data: st.DataObject) -> None:
    schedule = Schedule(n_slots, n_slots)
    schedule.admit()
    leaving = data.draw(st.sets(st.integers(0, n_slots - 1)))
    staying = [row for slot, row in enumerate(schedule.live) if slot not in leaving]

    events = schedule.retire(leaving)

    assert sorted(schedule.live) == sorted(staying)
    sources = [event.source for event in events if isinstance(event, Move)]
    assert len(events) == len(sources) == len(set(sources)) <= len(leaving)


def test_a_gap_is_filled_by_who_waits_and_then_by_the_last() -> None:
    schedule = Schedule(5, 3)
    assert schedule.admit() == [Admission(0, 0), Admission(1, 1), Admission(2, 2)]
    assert schedule.retire([0]) == [Admission(0, 3)]
    assert schedule.retire([1, 2]) == [Admission(2, 4), Move(2, 1)]
    assert schedule.live == [3, 4]
    assert schedule.retire([0]) == [Move(1, 0)]
    assert schedule.live == [4]
    assert schedule.admit() == [] == schedule.retire([])
