"""`emoctl runs readings`: one rollout token by token, with the emotions that it reads most of.

It needs no torch and no model. Tokens are what a model wrote: each is quoted and made inert.
"""

import json as json_text
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emoctl.cli.console import next_step, one_line, print_json, print_line, safe
from emoctl.cli.runs import Json, Parent, called_as

if TYPE_CHECKING:
    from emoctl.store.database import RunStore
    from emoctl.store.records import ConditionRecord, ProbeRecord, ReadingsRecord, RolloutRecord

LONGEST_TOKEN = 24


def readings(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A path, a name, or latest.")],
    rollout: Annotated[
        str, typer.Option(metavar="ID", help="Which rollout, as tables and `runs show` give it.")
    ],
    layer: Annotated[
        int | None, typer.Option(help="A layer that was read; by default the last of them.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Emotions a token, strongest first.")] = 5,
    out: Parent = Path("runs"),
    json: Json = False,
) -> None:
    """Show the emotions that each token of a rollout reads most of, as cosines.

    Position -1 is the prompt's last token, 0 the response's first; the response's last token is
    never fed to the model, so never read. At the steered layer a reading contains what was added.

    Example: emoctl runs readings latest --rollout r-0123456789ab --top 3
    """
    from emoctl.store.database import RunStore
    from emoctl.store.run_folder import find_run

    folder = find_run(out, run)
    with RunStore.open(folder.path, write=False) as store:
        shown = _find(store, folder.name, rollout, layer)
    if json:
        print_json(shown.document(top))
    else:
        for line in shown.lines(top):
            print_line(line)
    next_step(f"emoctl runs show {called_as(run, out)} --rollout {shown.rollout.id}")


def _find(store: "RunStore", run: str, rollout_id: str, layer: int | None) -> "_Shown":
    from emoctl.errors import StoreError, UsageError

    rollout, probe = store.rollout(rollout_id), store.probe()
    read = next(store.readings(rollout.id), None)
    if probe is None or read is None:
        raise StoreError(
            f"run {run} holds no readings",
            hint="take them: write `readings: {}` into the experiment file, and run it anew",
        )
    chosen = probe.layers[-1] if layer is None else layer
    if chosen not in probe.layers:
        listing = ", ".join(map(str, probe.layers))
        raise UsageError(f"--layer {chosen}: was not read", hint=f"read were {listing}")
    (condition,) = store.conditions(ids=[rollout.condition_id])
    return _Shown(rollout, condition, probe, read, chosen)


@dataclass(frozen=True)
class _Shown:
    """One rollout's readings at one layer."""

    rollout: "RolloutRecord"
    condition: "ConditionRecord"
    probe: "ProbeRecord"
    read: "ReadingsRecord"
    layer: int

    @property
    def cell(self) -> str:
        from emoctl.store.cells import cell_name

        return cell_name(self.rollout.scenario, self.rollout.variant, self.condition)

    def tokens(self, top: int) -> list[dict[str, Any]]:
        """Position, text, norm and strongest emotions of each token; NaN where it has no
        reading."""
        import numpy as np

        at = self.probe.layers.index(self.layer)
        cosines = np.frombuffer(self.read.cosines, "<f2").reshape(self.read.shape)[:, at]
        norms = np.frombuffer(self.read.norms, "<f4").reshape(self.read.shape[:2])[:, at]
        order = np.argsort(-cosines.astype(np.float64), axis=1, kind="stable")[:, :top]
        return [
            {
                "position": self.read.first + i,
                "text": text,
                "norm": float(norms[i]),
                "top": [
                    {
                        "emotion": self.probe.emotions[j],
                        "cosine": float(cosines[i, j]),
                        "projection": float(cosines[i, j]) * float(norms[i]),
                    }
                    for j in order[i]
                ],
            }
            for i, text in enumerate(self.read.tokens)
        ]

    def document(self, top: int) -> dict[str, Any]:
        """Everything as JSON values."""
        return {
            "id": self.rollout.id,
            "cell": self.cell,
            "rollout": self.rollout.rollout,
            "layer": self.layer,
            "layers": self.probe.layers,
            "steered_layer": self.condition.layer if self.condition.coefficient else None,
            "n_emotions": len(self.probe.emotions),
            "tokens": self.tokens(top),
        }

    def lines(self, top: int) -> list[str]:
        """Everything for people: a line a token."""
        tokens = self.tokens(top)
        texts = [_quoted(token["text"]) for token in tokens]
        width = max(map(len, ("token", *texts)))
        heads = [f"{self.rollout.id}  {self.cell}  rollout {self.rollout.rollout}", self._about()]
        table = [("position", "token", "emotions, by cosine")]
        for token, text in zip(tokens, texts, strict=True):
            table.append((str(token["position"]), text, _strongest(token["top"])))
        return heads + [f"{at:>8}  {text:<{width}}  {said}" for at, text, said in table]

    def _about(self) -> str:
        about = f"layer {self.layer} (read: {', '.join(map(str, self.probe.layers))})"
        steered = self.condition.layer
        if not self.condition.coefficient:
            return f"{about}; unsteered"
        if self.layer == steered:
            return f"{about}; steered here, so what is read contains what was added"
        return f"{about}; steered at {steered}"


def _strongest(top: list[dict[str, Any]]) -> str:
    return "  ".join(f"{one_line(each['emotion'])} {_cosine(each['cosine'])}" for each in top)


def _cosine(value: float) -> str:
    return "n/a" if value != value else f"{value:+.3f}"


def _quoted(token: str) -> str:
    """A token in quotes on one line, inert: a line break is `\\n`, and a quote in it is escaped."""
    text = safe(json_text.dumps(token, ensure_ascii=False))
    return text if len(text) <= LONGEST_TOKEN else f"{text[: LONGEST_TOKEN - 1]}…"
