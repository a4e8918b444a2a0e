"""The platform in small: a page, the API server's part behind it, and a worker beside it."""
