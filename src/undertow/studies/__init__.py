"""Experiments repeated whole, each with one page: the question, the experiments, the results."""
