"""The drawing of plots: tables in, figures out."""
