"""From a name, a file or the hub to a backbone."""
