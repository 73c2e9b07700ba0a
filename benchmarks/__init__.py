"""Ways of generating steered text, compared on the same weights, token ids and lengths.

`python -m benchmarks --help` lists what can be measured; README.md beside this file says what each
case is. Nothing in emoctl imports this package.
"""
