"""What an examination found, as something to print, save, read back and compare, and a run explained. No torch."""

from undertow.reporting.explanation import Explanation, explain
from undertow.reporting.report import Report

__all__ = ["Explanation", "Report", "explain"]
