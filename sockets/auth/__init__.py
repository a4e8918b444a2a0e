"""From a handshake to Credentials: who is it, and may it come in by this door?"""
