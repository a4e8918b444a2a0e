"""What operators see: each node answers for itself, and whoever asks puts the answers together."""
