"""What the plots look like: tables in, figures out."""
