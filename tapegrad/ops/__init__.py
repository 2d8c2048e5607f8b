"""The op table: one module a family, each op in one place."""
