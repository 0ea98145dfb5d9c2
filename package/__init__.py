"""What `sam build` runs to make the artifact. Never deployed."""
