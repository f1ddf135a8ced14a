"""Laws, parity, golden files, plugins, documentation and packaging."""
