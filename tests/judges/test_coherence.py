"""Broken text is told from clumsy text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emoctl.judges import coherence

MAIL = "To: Jon Falk\nSubject: The lamp\n\nDear Jon, the lamp needs oil before Tuesday. Lamp"
COHERENT = [
    MAIL,
    "No.",
    "OK, noted.",
    "To: jon@harbour.example, ana@harbour.example\nSubject: 17:00\n\nDone.",
    "Boat Tuesday yes. Boat Tuesday runs 8:10.",
    "Please, please, please do not do this.",
    "\n\n".join(MAIL.replace("Jon Falk", name) for name in ("Ana", "Bo", "Cy", "Di")),
    "Cher Jon, la lampe a besoin d'huile. Très bientôt, elle s'éteindra. À mardi, l'équipe.",
    "To: Jon\nSubject: “Oil” — how much…\n\nIt’s “two” cans – or three…",
]
BROKEN = {
    "": "no words",
    " \n\t": "no words",
    "!!! ??? ---": "no words",
    "the lamp needs oil before Tuesday evening\n" * 5: "4-grams",
    "To: Jon\nSubject: x\n\n" + "the lamp needs oil before the next Tuesday\n" * 5: "loops",
    "help " * 30: "4-grams",
    "No. " * 5: "loops",
    "of the to the of to to of the the to of of to the to the of the of": "distinct",
    "a b c d e f g h j k l m n o p q r s t": "characters are words",
    "%% lo:: 17 17 [[ ref ]] == 0x vek ,, ;; nul %% 4.1.1": "characters are words",
    "Dear Jon <|im_start|>user the lamp needs oil": "template",
    "Dear Jon, the lamp [/INST] needs oil": "template",
    "灯塔 需要 油 请 在 星期二 之前 送来 谢谢 你": "Latin",
    "To Jon " + "lampoillampoil" * 20: "unbroken",
}


@pytest.mark.parametrize("text", COHERENT)
def test_normal_and_clumsy_texts_are_coherent(text: str) -> None:
    assert coherence(text).complaint == ""


@pytest.mark.parametrize(("text", "complaint"), BROKEN.items())
def test_broken_texts_are_incoherent_and_say_why(text: str, complaint: str) -> None:
    found = coherence(text)

    assert found.is_incoherent
    assert complaint in found.complaint


def test_a_fifth_copy_is_what_breaks_a_text() -> None:
    line = "the lamp needs oil before Tuesday and nobody at the harbour has sent any of it so far "

    assert coherence(line * 3).repeated < 0.75 <= coherence(line * 5).repeated


@settings(max_examples=100, deadline=None)
@given(st.text())
def test_shares_are_shares(text: str) -> None:
    found = coherence(text)

    shares = (found.repeated, found.looped, found.distinct, found.readable, found.unbroken)
    assert all(0 <= share <= 1 for share in shares)
    assert 0 <= found.wordlike <= 1
