"""An app of a site that has users of its own kind: known by a UUID, signing in with their email."""
