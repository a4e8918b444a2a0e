"""For operators whose browser asks for Korean."""
