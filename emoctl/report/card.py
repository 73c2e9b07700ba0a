"""A vectors file's provenance → a README for it, as model hubs read one: front matter, then prose.

What a file says of itself is shown inert: a name in it may be anybody's. This module computes
nothing and reads no tensor.
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from emoctl.report.inert import inert_terminal, plain_markdown

TAGS = ("emotion-vectors", "steering-vectors", "activation-steering", "interpretability", "emoctl")


@dataclass(frozen=True)
class CardFacts:
    """What a card tells."""

    file: str
    """The file's name, without its folder."""

    file_sha256: str
    made: Mapping[str, Any]
    """The provenance, as JSON has it."""

    layers: tuple[int, ...]
    mean_norm: tuple[float, ...]
    """By layer of the model."""

    base_model: str | None
    """The model's id on the hub; None where it has none."""

    weights: str | None
    """What the weights are beside the model's name."""

    licence: str
    """Of the vectors: an identifier that the hub knows, `unknown` among them."""

    corpus: str
    """Which corpus it was, and its licence, in words."""


def card_md(facts: CardFacts) -> str:
    """The card, as Markdown that begins with its front matter."""
    environment = Environment(
        # escaped for Markdown, not for HTML: `finalize` sees whatever is written
        autoescape=False,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"sh": _argument, "code": _code}
    template = resources.files("emoctl.report").joinpath("card.md.jinja")
    page = environment.from_string(template.read_text(encoding="utf-8"))
    return page.render(
        front=Markup(_front_matter(facts)),
        facts=facts,
        made=facts.made,
        model=_model_name(facts),
        example=facts.made["emotions"][0],
        layer=_example_layer(facts),
        held=facts.made["held_out"],
        imported=facts.made.get("imported"),
    )


def _front_matter(facts: CardFacts) -> str:
    front: dict[str, Any] = {"license": facts.licence}
    if facts.base_model:
        front["base_model"] = facts.base_model
    front |= {"library_name": "emoctl", "tags": list(TAGS)}
    return yaml.safe_dump(front, sort_keys=False, allow_unicode=False)


def _model_name(facts: CardFacts) -> str:
    """The model's id, without the folders of the machine that it was on."""
    said = facts.made["model"]
    local = said["source"] in ("folder", "gguf")
    return str(said["id"]).replace("\\", "/").rstrip("/").split("/")[-1] if local else said["id"]


def _example_layer(facts: CardFacts) -> int:
    default = int(facts.made["default_layer"])
    return default if default in facts.layers else facts.layers[0]


def _shown(value: Any) -> Any:
    if isinstance(value, Markup | int):
        return value
    return f"{value:.4g}" if isinstance(value, float) else plain_markdown(str(value))


def _argument(value: object) -> Markup:
    """One word of a command line in a code block."""
    return Markup(shlex.quote(inert_terminal(str(value)).replace("\n", " ")))


def _code(value: object) -> Markup:
    """A code span; what would end it is left out."""
    return Markup("`" + inert_terminal(str(value)).replace("`", "").replace("\n", " ") + "`")
