"""Publish: run notebooks, render them to pages that stand alone, and keep the index of what was published."""
