"""Each user's recent durable messages: the guarantee behind the channel layer's wake-ups."""
