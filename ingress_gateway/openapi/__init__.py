"""The description of the HTTP interface: OpenAPI 3.1 as data, and the page that shows it.

One module for each group of routes holds its paths; ``parts`` is what they are written with, ``document`` puts them
together. Tests hold the document to the routing table and to what the routes take and answer.
"""
