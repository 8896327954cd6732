"""Chapter 5 of the book, measured again: "Why are deep neural networks hard to train?"

Every figure and number of the chapter, with many networks in place of one, as one page, pictures and a file of results.
"""

from undertow.studies.chapter5.check import Recomputed, check
from undertow.studies.chapter5.claims import CLAIMS
from undertow.studies.chapter5.config import Chapter5Config, config
from undertow.studies.chapter5.plan import measure
from undertow.studies.study import Study

__all__ = ["STUDY", "Chapter5Config", "Recomputed", "check", "config"]

STUDY = Study(
    "chapter5",
    "every figure and number of chapter 5 of Nielsen's book, with many networks in place of one",
    config,
    measure,
    CLAIMS,
)
