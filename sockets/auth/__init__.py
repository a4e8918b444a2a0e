"""From a handshake to Credentials: who this is, and whether they may connect here."""
