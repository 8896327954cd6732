"""A folder of Runs as live pages on this machine: nothing outside the folder is read, and nobody else may read it."""
