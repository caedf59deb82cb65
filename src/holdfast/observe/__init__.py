"""Observing a store: metrics, spans, logs, failures and reads as events, reports."""
