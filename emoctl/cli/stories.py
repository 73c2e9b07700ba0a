"""`emoctl stories`: what a corpus holds, and what is wrong with it. Only `write` loads a model."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from emoctl.cli.console import next_step, note, print_json, print_line
from emoctl.cli.stories_write import write

if TYPE_CHECKING:
    from emoctl.stories import Corpus

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Corpora: ls, show, lint, write."
)
app.command("write")(write)

File = Annotated[
    str, typer.Argument(metavar="[FILE]", help="A JSONL file of stories; default: the built-in.")
]
Stories = Annotated[
    str, typer.Option("--stories", metavar="FILE", help="A JSONL file of {emotion, topic, text}.")
]
Neutral = Annotated[
    str, typer.Option("--neutral", metavar="FILE", help="A JSONL file of {topic, text}.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


@app.command("ls")
def ls(file: File = "builtin", neutral: Neutral = "builtin", json: Json = False) -> None:
    """List the emotions and topics of a corpus, and its hash.

    Example: emoctl stories ls
    """
    from collections import Counter

    from emoctl.stories import load_corpus

    corpus = load_corpus(file, neutral)
    counts = Counter(s.emotion for s in corpus.stories)
    if json:
        print_json(
            {
                "digest": corpus.digest,
                "emotions": [{"emotion": e, "n_stories": counts[e]} for e in corpus.emotions],
                "topics": list(corpus.topics),
                "n_neutral": len(corpus.neutral),
            }
        )
    else:
        width = max(len(e) for e in corpus.emotions)
        for emotion in corpus.emotions:
            print_line(f"{emotion:<{width}}  {counts[emotion]} stories")
        print_line(
            f"{len(corpus.stories)} stories, {len(corpus.emotions)} emotions, "
            f"{len(corpus.topics)} topics, {len(corpus.neutral)} neutral texts, {corpus.digest}"
        )
    next_step(f"emoctl stories show {corpus.emotions[0]!r}")


@app.command()
def show(
    emotion: Annotated[str, typer.Argument(help="An emotion of the corpus.")],
    topic: Annotated[str | None, typer.Option(help="Only the story about this topic.")] = None,
    stories: Stories = "builtin",
    json: Json = False,
) -> None:
    """Print the stories of one emotion.

    Example: emoctl stories show desperate --topic "a lost dog"
    """
    from dataclasses import asdict

    from emoctl.stories import load_corpus

    corpus = load_corpus(stories)
    _known("emotion", emotion, corpus.emotions)
    if topic is not None:
        _known("topic", topic, corpus.topics)
    chosen = [s for s in corpus.stories if s.emotion == emotion and topic in (None, s.topic)]
    if json:
        print_json([asdict(s) for s in chosen])
    else:
        print_line("\n\n".join(f"{s.emotion} / {s.topic}\n{s.text}" for s in chosen))
    next_step("emoctl stories lint")


@app.command()
def lint(file: File = "builtin", neutral: Neutral = "builtin", json: Json = False) -> None:
    """List every defect of a corpus; exit 1 when there is one.

    Defects are stories that name their emotion or a close synonym, copies, texts that are too
    short or too long, what stories of one emotion share beside it (openings, names, single
    words), stories without a word of their topic, emotions without a story on some topic, and
    emotions with more or fewer stories than others. How far the words alone give the emotion away
    is measured, and is no defect.

    Example: emoctl stories lint my-stories.jsonl
    """
    from dataclasses import asdict
    from typing import get_args

    from emoctl.stories import lint_corpus, load_corpus
    from emoctl.stories.findings import FindingKind

    corpus = load_corpus(file, neutral)
    report = lint_corpus(corpus)
    alone = _words_alone(corpus)
    if json:
        print_json(
            {
                "ok": report.ok,
                "n_stories": report.n_stories,
                "n_neutral": report.n_neutral,
                "mean_words": report.mean_words,
                "mean_words_neutral": report.mean_words_neutral,
                "counts": report.counts,
                "words_alone": alone,
                "findings": [asdict(f) for f in report.findings],
            }
        )
    else:
        for finding in report.findings:
            print_line(f"{finding.kind}: {finding.message}")
        print_line(
            f"{report.n_stories} stories ({len(corpus.emotions)} emotions, {len(corpus.topics)} "
            f"topics), {report.mean_words:.0f} words on average; {report.n_neutral} neutral texts, "
            f"{report.mean_words_neutral:.0f}"
        )
        kinds = get_args(FindingKind)
        print_line(", ".join(f"{kind} {report.counts.get(kind, 0)}" for kind in kinds))
        for line in _told(alone):
            print_line(line)
        n = len(report.findings)
        print_line("ok" if report.ok else f"{n} finding{'' if n == 1 else 's'}")
    if not report.ok:
        note("next: mend the texts, then lint again")
        raise typer.Exit(1)
    next_step("emoctl extract")


def _words_alone(corpus: "Corpus") -> dict[str, float] | None:
    """What a bag of words reads on left-out topics; None where no topic can be left out."""
    from emoctl.stories.labels import label_stories
    from emoctl.stories.words_alone import read_words_alone

    stories = label_stories(corpus)
    if not stories.can_be_held_out:
        return None
    scores, n = read_words_alone(stories.stories), len(stories.emotions)
    return {
        "top1": scores.top(1),
        "top5": scores.top(5),
        "chance1": 1 / n,
        "chance5": min(1.0, 5 / n),
    }


def _told(alone: dict[str, float] | None) -> Iterator[str]:
    if alone is None:
        yield "words alone: not tried, since an emotion has stories on fewer than three topics"
        return
    yield (
        f"words alone name {alone['top1']:.3f} of the emotions on topics left out, "
        f"{alone['top5']:.3f} within five tries (chance {alone['chance1']:.3f}, "
        f"{alone['chance5']:.3f})"
    )


def _known(what: str, word: str, known: tuple[str, ...]) -> None:
    from emoctl.errors import StoriesError, did_you_mean

    if word not in known:
        listing = f"emoctl stories ls lists them: {', '.join(known[:5])}, …"
        raise StoriesError(
            f"the corpus has no {what} {word!r}",
            hint=did_you_mean(word, list(known), listing=listing),
        )
