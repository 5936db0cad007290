"""Webhooks: signed, sent, sent again until somebody takes them."""
