"""Progressive compression on the live pipeline (US 2025/0265465 A1, FIG. 5)."""
