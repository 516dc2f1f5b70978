"""Scores of finished models: bundled benchmarks, correlation with intervals, and what the evaluate stage writes."""
