"""Who is connected: leases that the node renews, so that a dead process is forgotten by itself."""
