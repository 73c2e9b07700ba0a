"""The command line: read inputs, call one function, show the result."""
