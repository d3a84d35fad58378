"""The way of an observation: Observation -> window -> Verdict -> Decision. Pure: time is in them."""
