"""What a frozen tower allows: merged layers, small passes, fingerprints."""
