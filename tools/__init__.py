"""Programs for contributors, which are not installed with the package."""
