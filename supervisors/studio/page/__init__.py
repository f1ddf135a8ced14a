"""The studio's page: one document with its styles and scripts inside."""
