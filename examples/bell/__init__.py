"""The smallest example: a Django view, a page, a bell."""
