"""One small file for each way of generating. A peer reads jobs and writes outcomes, one JSON line
each; it does not know which other peers there are, or what is made of its figures."""
