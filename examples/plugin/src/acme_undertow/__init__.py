"""An example of a plugin for undertow: a rule, a remedy, a renderer and a tracker."""
