"""The sections of the spec, one module each: fields, bounds, defaults and meaning."""
