"""Commands about data, without a fit: `astrogf inspect` (inspection), `ingest` and `store` (stores), `fetch`
(fetching); screen prints their tables.
"""
