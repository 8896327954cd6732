"""What an examination found, as something to print, save, read back and compare. Needs no torch."""

from undertow.reporting.report import Report

__all__ = ["Report"]
