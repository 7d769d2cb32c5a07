"""One check of everything that only a GPU can tell: `python -m vrx.bench.gpu` in a checkout."""
