"""Where stages run: in this process, or on the nodes of a Ray cluster."""
