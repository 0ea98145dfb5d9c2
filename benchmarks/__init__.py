"""Side-by-side measurements, each with its peers in the same run."""
