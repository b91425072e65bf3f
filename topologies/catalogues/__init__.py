"""Files that people write: strict YAML, catalogues of named entries, and what is wrong in them."""
