"""Signing in to the page at an identity provider (OpenID Connect), beside API keys. Off without `--oidc-file`.

Nothing is kept of a person but a digest of who it is: a signed cookie holds that, the tenant and an expiry.
"""
