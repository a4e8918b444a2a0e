"""What several suites share: processes, stores, peers, stand-ins."""
