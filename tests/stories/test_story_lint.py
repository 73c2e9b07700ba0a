"""Lint: each defect is found where it is planted, and the built-in corpus has none."""

from dataclasses import replace

import pytest

from emoctl.stories import Corpus, NeutralText, Story, lint_corpus, load_corpus
from emoctl.stories.lint import MAX_WORDS, MIN_WORDS, find_leaks
from emoctl.stories.synonyms import find_synonyms, synonym_groups
from emoctl.stories.variety import find_off_topic, find_sameness
from emoctl.stories.word_forms import find_mentions


def filler(seed: str, n_words: int = 60) -> str:
    """Words that no other seed shares."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    return " ".join(
        f"{seed}{letters[i // 26]}{letters[i % 26]}{letters[(i * 7) % 26]}" for i in range(n_words)
    )


def grid(emotions: str = "calm sad angry", topics: str = "train dog") -> list[Story]:
    return [
        Story(e, t, filler(e[0] + t[0] + "q")) for e in emotions.split() for t in topics.split()
    ]


def lint(stories: list[Story], neutral: tuple[NeutralText, ...] = ()) -> list[tuple[str, str]]:
    report = lint_corpus(Corpus(tuple(stories), neutral))
    return [(f.kind, f.message) for f in report.findings]


def test_the_builtin_corpus_has_no_finding() -> None:
    report = lint_corpus(load_corpus())
    assert report.findings == ()
    assert report.ok
    assert (report.n_stories, report.n_neutral) == (2052, 263)
    assert 95 < report.mean_words < 125


def test_a_leak_planted_in_the_builtin_corpus_is_found() -> None:
    corpus = load_corpus()
    first = next(s for s in corpus.stories if s.emotion == "desperate")
    spoilt = replace(first, text=first.text + " She was desperately tired.")
    others = tuple(s for s in corpus.stories if s is not first)
    report = lint_corpus(Corpus((spoilt, *others), corpus.neutral))
    (finding,) = report.findings
    assert finding.kind == "leak"
    assert (finding.emotion, finding.topic) == (first.emotion, first.topic)
    assert finding.words == ("desperately",)
    assert f"desperate / {first.topic}" in finding.message
    assert report.counts == {"leak": 1}


def test_a_close_synonym_is_found_and_a_far_word_is_not() -> None:
    def kinds(text: str) -> list[str]:
        return [f.kind for f in find_leaks([Story("scared", "a dog", text)])]

    assert kinds("He was terrified of it.") == ["synonym"], "another emotion of the group"
    assert kinds("Dread sat on him.") == ["synonym"], "a further word"
    assert kinds("He was scared, and full of fear.") == ["leak", "synonym"]
    assert kinds("He was sad and proud and furious.") == [], "control: of other groups"
    assert find_synonyms("a word of nobody's", "terrified") == ()


def test_every_synonym_group_is_of_the_corpus_emotions() -> None:
    grouped = [emotion for group in synonym_groups() for emotion in group.emotions]
    assert sorted(grouped) == sorted(load_corpus().emotions)


def many(emotion: str, n: int, extra: dict[int, str], start: str = "") -> list[Story]:
    """`n` stories that share nothing but what is put into some of them."""

    def letters(k: int) -> str:
        return chr(97 + k % 26) + chr(97 + k // 26)

    return [
        Story(
            emotion,
            f"topic {k}",
            f"{start or f'{emotion[:2]}open{letters(k)}'} {filler(emotion[0] + letters(k))} "
            f"and {extra.get(k, '')}",
        )
        for k in range(n)
    ]


def sameness(stories: list[Story]) -> list[tuple[str, str | None, tuple[str, ...]]]:
    return [(f.kind, f.emotion, f.words) for f in find_sameness(stories)]


def test_what_stories_of_one_emotion_share_is_found() -> None:
    plain = dict.fromkeys(range(8), "")
    others = many("sad", 60, {}) + many("calm", 60, {})
    assert sameness(many("angry", 8, plain) + others) == [], "control"
    named = many("angry", 8, dict.fromkeys((0, 1, 2), "saw Tamsin there"))
    assert ("name", "angry", ("Tamsin",)) in sameness(named + others)
    twice = many("angry", 8, dict.fromkeys((0, 1), "saw Tamsin there"))
    assert sameness(twice + others) == [], "two stories may share a name"
    cued = many("angry", 8, dict.fromkeys((0, 3, 5, 7), "with whoops"))
    assert ("cue", "angry", ("whoops",)) in sameness(cued + others)
    everywhere = [many(e, 8, dict.fromkeys(range(8), "with whoops")) for e in ("angry", "sad")]
    assert sameness(everywhere[0] + everywhere[1]) == [], "a word that others have is no cue"
    opened = many("angry", 8, plain, start="There was")
    assert ("opening", "angry", ("there", "was")) in sameness(opened + others)


def test_a_story_without_a_word_of_its_topic_is_found() -> None:
    emotions = [f"e{k}" for k in range(24)]
    stories = [
        Story(e, t, f"{word} {filler(e + t[0])}")
        for e in emotions
        for t, word in (("a lost dog", "dogs"), ("a train journey", "carriage"))
    ]
    assert list(find_off_topic(stories)) == [], "its name in another form, or a usual word of it"
    stories[0] = replace(stories[0], text=filler("zz"))
    (finding,) = find_off_topic(stories)
    assert (finding.kind, finding.emotion, finding.topic) == ("off-topic", "e0", "a lost dog")


def test_a_clean_grid_has_no_finding() -> None:
    assert lint(grid()) == []


@pytest.mark.parametrize(
    ("word", "forms"),
    [
        ("desperate", "desperate Desperately desperation"),
        ("calm", "calm calmly calmed calms calming calmness calmer"),
        ("angry", "angry anger angrily angrier angered ANGRY"),
        ("hopeful", "hope hopes hoped hoping hopefully hopeless"),
        ("happy", "happily happiness happier unhappy"),
        ("sad", "sadly sadness saddened sadder"),
        ("proud", "pride proudly proudest"),
        ("nervous", "nervously nervousness nerves"),
        ("loving", "love loved lover lovingly"),
        ("surprised", "surprise surprising surprisingly"),
        ("gloomy", "gloom gloomily gloominess"),
        ("trapped", "trap traps trapping"),
        ("scared", "scare scary scaring"),
        ("worried", "worry worries worrying worriedly"),
        ("optimistic", "optimism optimist optimistically"),
        ("jealous", "jealousy jealously"),
        ("vulnerable", "vulnerability vulnerably"),
        ("compassionate", "compassion compassionately"),
        ("skeptical", "skeptic skepticism"),
        ("tense", "tension tensed tensely"),
        ("grateful", "gratefully gratitude"),
        ("grief-stricken", "grief"),
    ],
)
def test_every_form_of_a_word_names_it(word: str, forms: str) -> None:
    for form in forms.split():
        assert find_mentions(word, f"Then {form}, of all things.") == (form,)


@pytest.mark.parametrize(
    ("word", "others"),
    [
        ("hopeful", "hop hopped hopping hops"),
        ("sad", "said saddle ad"),
        ("scared", "scar scars scarred"),
        ("happy", "happen happened happens"),
        ("mad", "made maid"),
        ("proud", "prow loud"),
        ("calm", "clam camel becalmx"),
        ("weary", "wear wearing"),
        ("grateful", "grate grated"),
        ("kind", "kindle mankind"),
    ],
)
def test_words_that_only_look_alike_do_not(word: str, others: str) -> None:
    assert find_mentions(word, others) == ()


@pytest.mark.parametrize(
    ("word", "text", "mentions"),
    [
        ("on edge", "Her nerves were on edge.", ("on edge",)),
        ("on edge", "It stood on the edge of the table, edge up.", ()),
        ("on edge", "The edginess in his voice.", ("edginess",)),
        ("at ease", "He looked at ease; she, at her ease.", ("at ease", "at her ease")),
        ("at ease", "With ease he looked at it.", ()),
        ("worn out", "Wearing out his welcome, worn\nout.", ("Wearing out", "worn out")),
        ("worn out", "She wore a coat and went out.", ()),
        ("grief-stricken", "A grief-stricken crowd.", ("grief", "grief stricken")),
        ("self-conscious", "Self-consciously, he bowed.", ("Self consciously",)),
        ("angry", "The anger\u2019s heat.", ("anger's",)),
    ],
)
def test_phrases_and_possessives(word: str, text: str, mentions: tuple[str, ...]) -> None:
    assert find_mentions(word, text) == mentions


def test_the_same_text_is_a_duplicate_whatever_its_punctuation() -> None:
    stories = grid()
    stories[3] = Story("sad", "dog", stories[0].text.upper().replace(" ", ",  "))
    ((kind, message),) = lint(stories)
    assert kind == "duplicate"
    assert "sad / dog" in message
    assert "calm / train" in message


@pytest.mark.parametrize(("n_changed", "kinds"), [(15, ["near-duplicate"]), (25, [])])
def test_near_duplicates_share_half_of_their_sequences(n_changed: int, kinds: list[str]) -> None:
    """With 60 words of which the last k differ, 56 - k of 56 + k sequences are shared."""
    stories = grid()
    words = stories[0].text.split()
    changed = words[: len(words) - n_changed] + filler("zzz", n_changed).split()
    stories[5] = Story("angry", "dog", " ".join(changed))
    assert [kind for kind, _ in lint(stories)] == kinds


def test_a_neutral_text_that_copies_a_story_is_found() -> None:
    stories = grid()
    ((kind, message),) = lint(stories, (NeutralText("kettles", stories[0].text),))
    assert kind == "duplicate"
    assert message.startswith("neutral / kettles")


@pytest.mark.parametrize(
    ("n_words", "found"),
    [(MIN_WORDS - 1, True), (MIN_WORDS, False), (MAX_WORDS, False), (MAX_WORDS + 1, True)],
)
def test_length_bounds_are_inclusive(n_words: int, found: bool) -> None:
    stories = grid()
    stories[0] = Story("calm", "train", filler("w", n_words))
    assert [kind for kind, _ in lint(stories)] == (["length"] if found else [])


def test_a_missing_story_is_a_gap_and_an_imbalance() -> None:
    findings = lint([s for s in grid() if (s.emotion, s.topic) != ("sad", "dog")])
    assert findings == [
        ("missing", "sad / dog: no story"),
        ("unbalanced", "sad: 1 stories where most emotions have 2"),
    ]


def test_an_extra_story_is_an_imbalance_alone() -> None:
    findings = lint([*grid(), Story("calm", "dog", filler("extra"))])
    assert [kind for kind, _ in findings] == ["unbalanced"]


def test_one_near_copy_is_found_among_two_thousand_texts() -> None:
    letters = "abcdefghijklmnopqrst"
    seeds = [a + b + c for a in letters for b in letters for c in letters[:5]]
    stories = [Story("calm", seed, filler(seed)) for seed in seeds]
    stories[1234] = Story("calm", "copy", stories[7].text + " and more")
    report = lint_corpus(Corpus(tuple(stories), ()))
    (found,) = [f for f in report.findings if f.kind == "near-duplicate"]
    assert found.topic == "copy"
    assert f"calm / {seeds[7]}" in found.message
    assert set(found.words) <= set(stories[7].text.split())
