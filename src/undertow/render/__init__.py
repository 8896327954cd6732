"""Charts and pages from recorded numbers. Nothing here touches a live model or loads torch."""
