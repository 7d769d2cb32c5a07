"""The command line: parse, show progress, render errors; no logic."""
