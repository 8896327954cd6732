"""What the ``undertow`` command does on models and reports of the user's: one idea a file; ``cli`` binds them."""
