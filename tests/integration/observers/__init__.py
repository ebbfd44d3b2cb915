"""Observers: Prometheus, OpenTelemetry, the alert rules and the dashboard, on the real programs."""
