"""Benchmarks: what the product costs beside something else in the same run. See README.md; nothing here is a test."""
