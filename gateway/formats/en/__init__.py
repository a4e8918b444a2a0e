"""For LANGUAGE_CODE, which is en-us."""
