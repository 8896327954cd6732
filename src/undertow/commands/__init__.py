"""The commands: one module each, of its name, with a function of that name, which `cli` finds and binds."""
