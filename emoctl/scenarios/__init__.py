"""Situations in which a model acts, as data: read, found, checked, and put as questions."""

from emoctl.scenarios.checks import CHECKS, CheckNeeds
from emoctl.scenarios.discovery import (
    FoundScenario,
    Level,
    bundled_folder,
    find_scenarios,
    pick_scenario,
)
from emoctl.scenarios.lint import Finding, check_scenario, lint_scenario
from emoctl.scenarios.loading import load_scenario, scenario_digest
from emoctl.scenarios.orders import choice_message, option_orders
from emoctl.scenarios.scenario import (
    REGISTERS,
    SET_ASIDE,
    ChoiceSpec,
    ContinuationSet,
    JudgeRule,
    JudgeSpec,
    LikelihoodSpec,
    Message,
    OutcomeDefinition,
    ReadoutName,
    Register,
    Role,
    Scenario,
    Variant,
)
from emoctl.scenarios.transcript import Judgement, Status, Stop, Transcript

__all__ = [
    "CHECKS",
    "REGISTERS",
    "SET_ASIDE",
    "CheckNeeds",
    "ChoiceSpec",
    "ContinuationSet",
    "Finding",
    "FoundScenario",
    "JudgeRule",
    "JudgeSpec",
    "Judgement",
    "Level",
    "LikelihoodSpec",
    "Message",
    "OutcomeDefinition",
    "ReadoutName",
    "Register",
    "Role",
    "Scenario",
    "Status",
    "Stop",
    "Transcript",
    "Variant",
    "bundled_folder",
    "check_scenario",
    "choice_message",
    "find_scenarios",
    "lint_scenario",
    "load_scenario",
    "option_orders",
    "pick_scenario",
    "scenario_digest",
]
