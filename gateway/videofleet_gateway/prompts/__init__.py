"""Prompt checks, before anything is queued: what makes a poor video, and what to write instead. Pure functions.

English, Chinese and Japanese are treated alike; of other languages only length and blocked terms are judged.
"""
