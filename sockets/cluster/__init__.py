"""The nodes of one gateway, and the messages between them."""
