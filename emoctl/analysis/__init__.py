"""Tables and tests from what a run stored; no torch, no terminal.

Import what you need from its modules: this package itself loads nothing heavy.
"""
