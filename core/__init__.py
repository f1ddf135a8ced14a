"""Contracts and machinery of the hub; knows no plugin and no preset."""
