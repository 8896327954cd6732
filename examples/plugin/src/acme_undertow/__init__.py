"""An example of a plugin for undertow: a rule, a remedy and a renderer."""
