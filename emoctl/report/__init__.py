"""Tables shown: in the terminal, as Markdown, as charts. Knows nothing of how numbers were made.

Import what you need from its modules: this package itself loads nothing heavy.
"""
