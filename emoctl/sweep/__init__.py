"""Plan, run, stop, resume: where engine, judges and store meet."""
