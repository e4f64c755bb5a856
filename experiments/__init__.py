"""Experiments behind the figures in README and docs; modules are commands, `python -m experiments.NAME`."""
