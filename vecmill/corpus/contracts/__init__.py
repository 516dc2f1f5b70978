"""Data contracts: the file format, the Arrow schema check, the row rules and Great Expectations as the judge."""
