"""An emotion word → the spellings under which a text could name it: calm, calmly, calmness, calmed.

Rules of English spelling build the forms from the word's roots, so `hoping` names `hopeful` and
`hopping` does not; a table holds what no rule reaches. Forms that no dictionary lists are built
too: they do no harm, since no text holds them. Synonyms are not known here.
"""

import re
from functools import cache

IRREGULAR: dict[str, str] = {
    "afraid": "unafraid",
    "angry": "anger angers angered angering",
    "annoyed": "annoyance annoyances",
    "anxious": "anxiety anxieties",
    "aroused": "arousal",
    "ashamed": "shame shames shamed shameful shamefully shaming unashamed",
    "at ease": "",
    "awestruck": "awe awed awestricken",
    "dumbstruck": "dumbstricken",
    "ecstatic": "ecstasy ecstasies",
    "energized": "energy energies energetic energetically",
    "enraged": "rage rages raged raging",
    "enthusiastic": "enthusiasm enthusiast enthused",
    "furious": "fury infuriated infuriating",
    "grateful": "gratitude",
    "grief-stricken": "grief grieve grieves grieved grieving",
    "hateful": "hatred",
    "heartbroken": "heartbreak heartbreaking heartbreakingly",
    "horrified": "horror horrors horrific horrible horribly horrid",
    "hysterical": "hysteria hysterics",
    "indignant": "indignation",
    "insulted": "insult insults",
    "joyful": "joyous joyously overjoyed",
    "loving": "beloved unloved",
    "miserable": "misery miseries miserably",
    "nervous": "nerve nerves nervy unnerved",
    "offended": "offence offense",
    "on edge": "edgy edgily edginess",
    "panicked": "panic panics panicky",
    "paranoid": "paranoia",
    "proud": "pride prided prides priding",
    "relieved": "relief",
    "resigned": "resignation",
    "safe": "safety unsafe",
    "satisfied": "satisfaction",
    "serene": "serenity",
    "shaken": "shake shakes shaking shook shaky",
    "stressed": "stressful",
    "suspicious": "suspicion suspicions suspect suspects suspected suspecting",
    "terrified": "terror terrors terrify terrifying terrible",
    "triumphant": "triumph triumphs triumphed",
    "vengeful": "vengeance revenge avenge",
    "worn out": "wear wearing wears wore",
}
"""Forms that the rules do not reach. For a phrase they are words that name it alone, except that
`worn out` takes those of its first word."""

OTHER_SENSE: dict[str, str] = {
    "content": "contents contention",
    "grateful": "grate grates grated grating",
    "kind": "kinds",
    "patient": "patients",
    "playful": "play plays played playing player players",
    "pleased": "please",
    "safe": "safes",
    "tired": "tire tires",
    "weary": "wear wears wearing wearer",
}
"""Forms by the rules that say something else."""

POSSESSIVES = frozenset(("my", "your", "his", "her", "its", "our", "their", "one's"))
VOWELS = "aeiou"
WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")
ROOT_SUFFIXES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("uous", ("",)),
    ("ious", ("y", "ion", "iety")),
    ("ous", ("", "e")),
    ("ful", ("",)),
    ("istic", ("ism", "ist")),
    ("etic", ("y",)),
    ("ic", ("ia", "y")),
    ("ical", ("ic", "icism")),
    ("al", ("",)),
    ("ionate", ("ion",)),
    ("ive", ("", "e")),
    ("ily", ("y",)),
    ("ing", ("", "e")),
    ("iness", ("y",)),
    ("y", ("",)),
)
"""Endings of an emotion adjective, and what may stand there in its root."""

NOUN_SUFFIXES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("ate", ("ation", "ations", "acy")),
    ("able", ("ability",)),
    ("ible", ("ibility",)),
    ("ent", ("ence", "ency")),
    ("ant", ("ance", "ancy")),
    ("ise", ("isation",)),
    ("ize", ("ization",)),
)


def find_mentions(word: str, text: str) -> tuple[str, ...]:
    """The words of `text` that name the emotion `word`, each once, as the text spells them."""
    tokens = WORD.findall(text.replace("\u2019", "'"))
    folded = [t.casefold().removesuffix("'s") for t in tokens]
    parts = split_words(word)
    singles = single_forms(word)
    found = [token for token, plain in zip(tokens, folded, strict=True) if plain in singles]
    if len(parts) > 1:
        found += _phrases(parts, phrase_heads(word), tokens, folded)
    return tuple(dict.fromkeys(found))


@cache
def split_words(word: str) -> tuple[str, ...]:
    """The words of an emotion's name: `grief-stricken` has two."""
    return tuple(WORD.findall(word.casefold()))


@cache
def single_forms(word: str) -> frozenset[str]:
    """Every single word that names the emotion; of a phrase, those of the table."""
    name = word.casefold()
    table = IRREGULAR.get(name, "").split()
    parts = split_words(name)
    if len(parts) > 1:
        return frozenset() if name == "worn out" else frozenset(table)
    forms = set(table)
    for root in (*_roots(name), _join(name, "en")):
        forms |= _forms(root)
    return frozenset(forms | {f"un{name}", f"un{_adverb(name)}"}) - set(
        OTHER_SENSE.get(name, "").split()
    )


@cache
def phrase_heads(word: str) -> frozenset[str]:
    """The first words with which a phrase may be said: worn out, wearing out."""
    name = word.casefold()
    heads = {split_words(name)[0]}
    return frozenset(heads | set(IRREGULAR[name].split()) if name == "worn out" else heads)


def _phrases(
    parts: tuple[str, ...], heads: frozenset[str], tokens: list[str], folded: list[str]
) -> list[str]:
    """Where the phrase stands in full, its last word in any form, a possessive between allowed."""
    last = _forms(parts[-1]) | {parts[-1]}
    found = []
    for start, token in enumerate(folded):
        if token not in heads:
            continue
        rest = [(i, folded[i]) for i in range(start + 1, min(start + len(parts) + 1, len(folded)))]
        words = [(i, t) for i, t in rest if t not in POSSESSIVES][: len(parts) - 1]
        middle = [t for _, t in words[:-1]]
        if len(words) == len(parts) - 1 and middle == list(parts[1:-1]) and words[-1][1] in last:
            found.append(" ".join(tokens[start : words[-1][0] + 1]))
    return found


def _roots(word: str) -> set[str]:
    roots = {word}
    for ending, replacements in ROOT_SUFFIXES:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            roots |= {word[: -len(ending)] + new for new in replacements}
    if word.endswith("ied"):
        roots.add(word[:-3] + "y")
    elif word.endswith("ed") and len(word) > 4:
        roots |= _verbs(word[:-2])
    return roots | {r[:-2] for r in roots if r.endswith("en") and len(r) >= 7}


def _verbs(stem: str) -> frozenset[str]:
    """Verbs whose past is `stem` + ed: trapp → trap, amaz → amaze, scar → scare and not scar."""
    if stem[-1] == stem[-2]:
        return frozenset({stem, stem[:-1]})
    silent = stem[-1] in "vuzcs" or _doubles(stem) or re.search(r"[^aeiou][lr]$", stem) is not None
    return frozenset({stem + "e"}) if silent else frozenset({stem, stem + "e"})


def _forms(root: str) -> set[str]:
    """A root, what is derived from it, and the inflections of it all."""
    bases = {root, *_nouns(root), root + "ful", root + "less"}
    bases |= {_join(root, suffix) for suffix in ("y", "able")}
    forms = set()
    for base in bases:
        forms |= {base, _plural(base), _adverb(base), _ness(base)}
        forms |= {_join(base, suffix) for suffix in ("ed", "ing", "er", "est")}
        forms |= {_adverb(_join(base, suffix)) for suffix in ("ed", "ing")}
    return forms


def _nouns(root: str) -> set[str]:
    nouns = {root + "ment", root + "dom", root + "ism", _join(root, "ity"), _join(root, "ion")}
    for ending, replacements in NOUN_SUFFIXES:
        if root.endswith(ending):
            nouns |= {root[: -len(ending)] + new for new in replacements}
    return nouns


def _doubles(word: str) -> bool:
    """Whether a vowel suffix doubles the last letter: one syllable, one vowel, one consonant."""
    return re.fullmatch(r"[^aeiou]*[aeiouy][^aeiouwxy]", word) is not None


def _join(word: str, suffix: str) -> str:
    if word.endswith("y") and word[-2:-1] not in VOWELS and not suffix.startswith("i"):
        return word[:-1] + "i" + suffix
    if word.endswith("e"):
        return word[:-1] + suffix
    return word + word[-1] + suffix if _doubles(word) else word + suffix


def _plural(word: str) -> str:
    if word.endswith("y") and word[-2:-1] not in VOWELS:
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("s", "x", "z", "ch", "sh")) else "s")


def _adverb(word: str) -> str:
    if word.endswith("y") and len(word) > 3:
        return word[:-1] + "ily"
    if word.endswith("le") and word[-3:-2] not in VOWELS:
        return word[:-1] + "y"
    return word + ("ally" if word.endswith("ic") else "ly")


def _ness(word: str) -> str:
    return word[:-1] + "iness" if word.endswith("y") and len(word) > 3 else word + "ness"
