"""Benchmarks: ``python -m tests.bench.NAME --json``. They measure and print; a goal missed is ``met: false``."""
