"""Decide: when usage past a threshold becomes an alert, and how good those alerts were."""
