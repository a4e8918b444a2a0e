"""What each request passes, without a hop to a thread."""
