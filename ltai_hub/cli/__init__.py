"""The ``ltai`` command. One file a noun, loaded when it is used."""
