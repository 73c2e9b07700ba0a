"""What an experiment file may say, and how one is read. Knows no models, runs or devices."""

from emoctl.config.gates import Gate, GateFields
from emoctl.config.loading import (
    default_config_text,
    find_config,
    json_schema,
    load_config,
    parse_config,
    render_yaml,
)
from emoctl.config.schema import SCHEMA, ExperimentConfig, ModelConfig, ReadoutConfig, SampleConfig
from emoctl.config.stories import StoriesConfig, WritingConfig
from emoctl.config.strengths import parse_scales, strength_text

__all__ = [
    "SCHEMA",
    "ExperimentConfig",
    "Gate",
    "GateFields",
    "ModelConfig",
    "ReadoutConfig",
    "SampleConfig",
    "StoriesConfig",
    "WritingConfig",
    "default_config_text",
    "find_config",
    "json_schema",
    "load_config",
    "parse_config",
    "parse_scales",
    "render_yaml",
    "strength_text",
]
