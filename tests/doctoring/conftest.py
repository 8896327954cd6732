"""What is no test here."""

collect_ignore = ["cluster.py"]
"""A program that a test runs: collecting it would need Ray, which `undertow[all]` doesn't bring."""
