"""Registries: the ports of `soci.ports` over the OCI distribution spec.

open        a reference on the command line ─> a repository
repository  the ports: what is read and written, in which order
├ streaming   blobs, by ranges ahead of the reader, resumed where a connection broke
├ upload      blobs, in one request or in parts
└ referrers   who refers to a manifest: the API, or the fallback tag
client      a request until it has its answer: login, redirects, retries, pace
├ auth        the login exchange; challenge reads what is asked, credentials and ecr find the login
└ retry       what is repeated, how often and when
transport   the only sockets
messages    requests and answers as values
"""
