"""Corpora of stories and neutral texts, and what is wrong with them; no tensors."""

from emoctl.stories.corpus import Corpus, NeutralText, Story, load_corpus, only_emotions
from emoctl.stories.findings import Finding
from emoctl.stories.lint import LintReport, lint_corpus

__all__ = [
    "Corpus",
    "Finding",
    "LintReport",
    "NeutralText",
    "Story",
    "lint_corpus",
    "load_corpus",
    "only_emotions",
]
