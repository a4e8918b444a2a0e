"""Each user's recent durable messages: the guarantee, where the channel layer only wakes."""
