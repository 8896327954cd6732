"""Leaves: one small module for each trainer or tracker, over the public names of undertow only.

Nothing is loaded here. Each leaf imports its own package, and nobody else does; where the package is missing, one
sentence says what to install. A leaf translates: the trainer's callbacks into `undertow.watch`, ``log`` and ``close``,
our findings into its log. It measures and judges nothing.
"""
