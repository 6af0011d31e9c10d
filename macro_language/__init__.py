"""Macros in the URLs that an organisation writes: `{source}`, `{param:zoneid|unknown}`, `{ip|sha256}`.

A template is text with macros. A macro is a name and, each after a `|`, transforms and at most one default:
``{name|default}``, ``{name|lower}``, ``{name|lower|none}``; a default that is spelled like a transform is written
``{name|default:lower}``. What a macro stands for is percent-encoded, whatever it holds: a value can fill its place
and nothing else. A macro without a value and default is empty.
"""
