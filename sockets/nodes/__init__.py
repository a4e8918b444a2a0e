"""The registry of nodes: which gateway processes live, and whom each must answer for."""
