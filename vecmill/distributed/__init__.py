"""Word training on several machines: replicas that exchange the rows they touched."""
