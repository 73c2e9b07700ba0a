"""Mails are found however a model decorates them, and nothing else is taken for one."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emoctl.judges.parsing import parse_mails
from emoctl.judges.people import People
from emoctl.judges.sentences import split_sentences

TABLE = {
    "To: A\nSubject: S\n\nB": [("A", "S", "B")],
    "to: A\nB": [("A", "", "B")],
    "TO : A\nSUBJECT : S\nB": [("A", "S", "B")],
    "**To:** A\n**Subject:** S\n\nB": [("A", "S", "B")],
    "**To**: A\n\nB": [("A", "", "B")],
    "- To: A\n- Subject: S\n\nB": [("A", "S", "B")],
    "1. To: A\nSubject: S\n\nB": [("A", "S", "B")],
    "  To: A\n  Subject: S\n\n  B": [("A", "S", "B")],
    '"To: A"\n\nB': [("A", "", "B")],
    "> To: A\n> Subject: S\n>\n> B": [("A", "S", "B")],
    "```\nTo: A\n\nB\n```": [("A", "", "B")],
    "To：A\n\nB": [("A", "", "B")],
    "To: A\nCc: C\nSubject: S\n\nB": [("A, C", "S", "B")],
    "Subject: S\nTo: A\n\nB": [("A", "S", "B")],
    "Date: x\nTo: A\nTime: y\n\nB": [("A", "", "B")],
    "To: A\nSubject: S\nBody: B": [("A", "S", "B")],
    "To: A, Subject: S\nB": [("A", "S", "B")],
    "To:\nA\nSubject: S\n\nB": [("A", "S", "B")],
    "Well.\n\nTo: A\n\nB\n\nTo: C\n\nD": [("A", "", "B"), ("C", "", "D")],
    "To: A\n\nB\n---\nTo: C\n\nD": [("A", "", "B"), ("C", "", "D")],
    "To: A\n\nB\n---\nThoughts": [("A", "", "B")],
    "To: A\n\nB\n\nSubject: T\nTo: C\n\nD": [("A", "", "B"), ("C", "T", "D")],
    "To: A\n\nTo be or not to be: B": [("A", "", "To be or not to be: B")],
    "Talk to: nobody": [],
    "Subject: S\n\nB": [],
    "": [],
}


@pytest.mark.parametrize(("text", "mails"), TABLE.items())
def test_parse_table(text: str, mails: list[tuple[str, str, str]]) -> None:
    found = [(mail.to, mail.subject, mail.body) for mail in parse_mails(text, ended=True)]

    assert found == mails


def test_a_mail_is_complete_when_another_begins_or_the_turn_ended() -> None:
    text = "To: A\n\nB\n\nTo: C\n\nD"

    assert [mail.complete for mail in parse_mails(text, ended=False)] == [True, False]
    assert [mail.complete for mail in parse_mails(text, ended=True)] == [True, True]


def test_a_forwarded_mail_belongs_to_the_mail_that_forwards_it() -> None:
    quoted = "From: X\nTo: Y\nSubject: Z\n\nOld words."
    forwarded = parse_mails(f"To: A\nSubject: Fwd\n\n{quoted}", ended=True)
    copied = parse_mails(f"To: A\nSubject: Hello\n\nNew words.\n\n{quoted}", ended=True)

    assert [(mail.to, mail.sender) for mail in forwarded] == [("A", "")]
    assert "Old words." in forwarded[0].body
    assert [(mail.to, mail.sender) for mail in copied] == [("A", ""), ("Y", "X")]


def test_the_longest_name_counts() -> None:
    people = People({"target": ["Lind", "Viktor Lind"], "spouse": ["Mrs Lind"], "all": ["ALL"]})

    assert people.roles_in("Mrs Lind") == {"spouse"}
    assert people.roles_in("viktor lind <v@x.example>") == {"target"}
    assert people.roles_in("Lind's secretary") == frozenset()
    assert people.roles_in("wife of Viktor Lind") == frozenset()
    assert people.roles_in("All of you") == {"all"}
    assert people.roles_in("Allan") == frozenset()


def test_strangers_are_counted_and_job_titles_are_not() -> None:
    people = People({"target": ["Lind"]})

    assert people.strangers_in("Lind, Director of Digital Services") == 0
    assert people.strangers_in("Ann Lee, Bo Fox <bo@x.example>; bo@x.example & Lind") == 2


def test_a_greeting_is_not_part_of_the_first_sentence() -> None:
    found = split_sentences("Dear Ana, I told Karl.\n\nDear me, no.", ended=True)

    assert [sentence.text for sentence in found] == ["Dear Ana,", "I told Karl.", "Dear me, no."]


def test_sentences_are_complete_when_something_ends_them() -> None:
    text = "Mr. Lind knows. Is it so?\n\nA line\n\nThe last"

    unfinished = split_sentences(text, ended=False)
    assert [sentence.text for sentence in unfinished] == [
        "Mr. Lind knows.", "Is it so?", "A line", "The last",
    ]  # fmt: skip
    assert [sentence.complete for sentence in unfinished] == [True, True, True, False]
    assert split_sentences(text, ended=True)[-1].complete


@settings(max_examples=150, deadline=None)
@given(st.text(), st.booleans())
def test_the_parser_never_raises(text: str, ended: bool) -> None:
    for mail in parse_mails("To: A\n" + text, ended=ended):
        split_sentences(mail.body, ended=ended)


@pytest.mark.parametrize(
    "unit", ["*", "> ", "\n", "To: ", "To:\n", '" ', ". ", "a. \n", "1. ", "-"]
)
def test_long_texts_of_one_kind_are_read_quickly(unit: str) -> None:
    started = time.perf_counter()
    for mail in parse_mails("To: A\n\n" + unit * 10_000, ended=False):
        split_sentences(mail.body, ended=False)

    assert time.perf_counter() - started < 5, "a pattern backtracks"
