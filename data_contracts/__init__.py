"""What the tables must look like before they are trusted: one JSON file a dataset."""
