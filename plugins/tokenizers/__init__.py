"""Built-in tokenizers, one module each: the module's name is the plugin's name."""
