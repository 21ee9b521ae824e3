"""A capacity-planning workbench for PostgreSQL: measure, forecast, decide, report."""

__version__ = "0.1.0"
