"""A story is found in whatever a model says around it, and what a person wrote is left as it is."""

import pytest

from emoctl.stories import load_corpus
from emoctl.stories.answers import MIN_WORDS, read_answer
from emoctl.stories.corpus import load_held_out
from emoctl.stories.wording import story_prompt

STORY = load_corpus().stories[0].text
SHORT = " ".join(STORY.split()[: MIN_WORDS - 1])


def written() -> list[str]:
    return [s.text for s in (*load_corpus().stories, *load_held_out())]


def test_what_people_wrote_passes_unchanged() -> None:
    texts = written()
    assert len(texts) > 1000
    assert [t for t in texts if read_answer(t, cut_off=False).story != t] == []
    assert [t for t in texts if read_answer(t, cut_off=True).story != t] == []


@pytest.mark.parametrize(
    "answer",
    [
        "Here is a short story about a letter:\n\n{}",
        "Sure! Here's a story: {}",
        "Certainly, here is the story you asked for.\n\n# Coins\n\n{}",
        "Of course!\n\nI'd be happy to write that story.\n\n{}",
        "Okay.\n\n{}",
        "**The Letter**\n\n{}",
        "The Letter\n\n{}",
        "Title: The Letter\n{}",
        "[story 1]\n{}\n\n[story 2]\n" + STORY,
        "Story 1: {}",
        "**Story:** {}",
        '"{}"',
        "\u201c{}\u201d",
        "<think>\nA letter, then.\n</think>\n\n{}",
        "{}\n\nThis story shows how little she has left.",
        "{}\n\nThe story conveys the feeling through gestures.",
        "{}\n\nI hope you like this story!",
        "{}\n\n---\n\nNote: 112 words.",
        "{}\n\n(Word count: 112)",
        "{}\n\nHuman: another one",
        "  {}\r\n",
    ],
)
def test_what_stands_around_a_story_is_taken_off(answer: str) -> None:
    assert read_answer(answer.replace("{}", STORY), cut_off=False).story == STORY


@pytest.mark.parametrize(
    "answer",
    [
        '"No."\n\n{}',
        "Sure, she thought. {}",
        "Okay. Here goes. {}",
        "I can't breathe. {}",
        "I will tell it as it was. {}",
        "Here is the key, he said. {}",
        '"Stop," she said. {} "Never."',
        "{}\n\nThe story of that day went round the village.",
        "The bus came at six,\n\n{}",
    ],
)
def test_what_belongs_to_a_story_stays(answer: str) -> None:
    whole = answer.replace("{}", STORY)
    assert read_answer(whole, cut_off=False).story == whole


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("", "no story in the answer"),
        ("\n \n", "no story in the answer"),
        ("Here is a story:\n\n", "no story in the answer"),
        ('""', "no story in the answer"),
        (SHORT, f"too short: {MIN_WORDS - 1} words, not at least {MIN_WORDS}"),
        ("I'm sorry, but I can't write that. " + STORY, "a refusal"),
        ("As an AI, I have no feelings. " + STORY, "a refusal"),
        ("<think>\nA letter, then. " + STORY, "no story: thinking that does not end"),
        (STORY + " \x1b[2J", "holds bytes or control characters that are no text"),
        (STORY + " \ufffd", "holds bytes or control characters that are no text"),
        ("He went on and on. " * 30, "goes in circles: 97% repeated"),
    ],
)
def test_an_answer_without_a_story_says_why(answer: str, problem: str) -> None:
    found = read_answer(answer, cut_off=False)
    assert (found.story, found.problem) == ("", problem)


def test_a_story_that_was_cut_off_ends_behind_a_sentence() -> None:
    torn = STORY + " And then she reached for the"
    assert read_answer(torn, cut_off=True).story == STORY
    assert read_answer(torn, cut_off=False).story == torn  # the control
    assert read_answer(" ".join(["word"] * 99), cut_off=True).problem == "no story in the answer"


def test_a_request_names_emotion_and_topic_and_no_other() -> None:
    asked = story_prompt("at ease", "a late train")
    assert asked.count("at ease") == 2
    assert "a late train" in asked
    assert "{" not in asked
    assert asked != story_prompt("at ease", "a lost dog") != story_prompt("calm", "a lost dog")
