"""What we make of a raw event: pure functions of its values, the same in every run of one version.

Nothing here does I/O but ``geo``, which reads the operator's files. ``docs/enrichment.md`` says what each rule is.
"""
