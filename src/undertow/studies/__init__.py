"""Whole experiments, each with one page that tells what was asked, what was done and what came out."""
