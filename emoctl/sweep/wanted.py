"""Which readouts and variants a config asks for; needs no model and no torch."""

from emoctl.config.schema import ExperimentConfig, ReadoutConfig
from emoctl.errors import ConfigError, ScenarioError, did_you_mean
from emoctl.scenarios import ReadoutName, Scenario


def wanted_readouts(config: ExperimentConfig) -> list[tuple[ReadoutName, ReadoutConfig]]:
    """The readouts that a config takes, exact ones first: they are quick, and deterministic."""
    readouts = config.readouts
    sections: dict[ReadoutName, ReadoutConfig | None] = {
        "likelihood": readouts.likelihood,
        "choice": readouts.choice,
        "sample": readouts.sample,
    }
    return [(name, section) for name, section in sections.items() if section is not None]


def variants_of(
    scenario: Scenario, readout: ReadoutName, section: ReadoutConfig
) -> tuple[str, ...]:
    """The variants of `scenario` that a readout covers.

    Raises:
        ConfigError: a variant is unknown.
        ScenarioError: the scenario does not offer the readout.
    """
    if readout not in scenario.readouts:
        raise ScenarioError(
            f"scenario {scenario.name!r} has no readout {readout!r}",
            hint=f"it offers {', '.join(scenario.readouts)}",
        )
    if section.variants == "all":
        return tuple(scenario.variants)
    for variant in section.variants:
        if variant not in scenario.variants:
            known = list(scenario.variants)
            raise ConfigError(
                f"readouts.{readout}.variants: {scenario.name} has no variant {variant!r}",
                hint=did_you_mean(variant, known, listing=f"it has {', '.join(known)}"),
            )
    return tuple(section.variants)
