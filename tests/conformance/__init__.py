"""Whether our server keeps to RFC 6455: the Autobahn test suite against a bare echo application."""
