"""The HTTP side of the gateway: API, health, metrics, middleware. A project's URLconf says which
surface has which."""
