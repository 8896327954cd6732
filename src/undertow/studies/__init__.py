"""Whole experiments, each with one page: the question, the experiments, the results."""
