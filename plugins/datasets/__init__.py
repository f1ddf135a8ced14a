"""Built-in datasets, one module each: the module's name is the plugin's name."""
