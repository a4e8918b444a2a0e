"""The ledger of deliveries: how far each client of a user has come, known when it is away too."""
