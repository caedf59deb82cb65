"""Hooks: functions of the user that see, change, refuse or follow what is committed."""

from holdfast.hooks.breaker import BreakerState, HookBreaker
from holdfast.hooks.capture import CapturedEvent, CapturedWrite
from holdfast.hooks.comparing import Compare, FieldDifference
from holdfast.hooks.event import REDACTED, HookEvent
from holdfast.hooks.hook import Hook
from holdfast.hooks.marking import after, before
from holdfast.hooks.metrics import HookMetrics
from holdfast.hooks.options import AfterOptions, BeforeOptions, HookOptions
from holdfast.hooks.registry import Hooks
from holdfast.hooks.report import ReplayReport, ReplayResult
from holdfast.hooks.settings import HookSettings
from holdfast.hooks.standing import HookStanding

__all__ = [
    "REDACTED",
    "AfterOptions",
    "BeforeOptions",
    "BreakerState",
    "CapturedEvent",
    "CapturedWrite",
    "Compare",
    "FieldDifference",
    "Hook",
    "HookBreaker",
    "HookEvent",
    "HookMetrics",
    "HookOptions",
    "HookSettings",
    "HookStanding",
    "Hooks",
    "ReplayReport",
    "ReplayResult",
    "after",
    "before",
]
