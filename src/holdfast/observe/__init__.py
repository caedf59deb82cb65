"""Observing a store: metrics, spans, logs, failures and reads as events, reports."""

from holdfast.observe.exposition import CONTENT_TYPE
from holdfast.observe.findings import Analysis, KeyFigures, ScopeFigures
from holdfast.observe.histogram import Distribution
from holdfast.observe.logs import CorrelationFilter, add_correlation
from holdfast.observe.metrics import Metrics
from holdfast.observe.scopes import ScopeStats
from holdfast.observe.settings import ObserveSettings

__all__ = [
    "CONTENT_TYPE",
    "Analysis",
    "CorrelationFilter",
    "Distribution",
    "KeyFigures",
    "Metrics",
    "ObserveSettings",
    "ScopeFigures",
    "ScopeStats",
    "add_correlation",
]
