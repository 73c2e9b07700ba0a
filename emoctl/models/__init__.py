"""A name → weights, tokenizer, chat template, decoder blocks. Knows no scenario and no run."""
