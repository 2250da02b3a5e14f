"""A fit of more stars than memory holds: they are cut into blocks, and a pass is a map over blocks and a sum.

In order of reading: `shelf` (where the large arrays of a block lie), `places` (where a map is computed: `here`,
`processes`, `cluster`), `work` (both, and how many stars are a block).
"""
