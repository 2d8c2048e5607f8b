"""The op table: one module a family, each op whole in one place."""
