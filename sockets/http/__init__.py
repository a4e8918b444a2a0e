"""HTTP views of the gateway; `gateway/urls_*.py` say which surface has which."""
