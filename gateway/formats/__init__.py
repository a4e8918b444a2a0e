"""How Django writes dates and times here: `FORMAT_MODULE_PATH`."""
