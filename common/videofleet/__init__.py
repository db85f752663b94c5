"""The language that operator, gateway and worker share: jobs, tiers, policy, queue, object store, logging.

Imports nothing else of ours, and no torch, kopf or aiohttp.web.
"""
