"""Registries: the ports of `soci.places.ports` over the OCI distribution spec.

    open          a reference ─> a repository, with its login and pace
    repository    the ports: what is read and written, in which order
    ├ manifests   by digest or tag, checked against what the registry says of them
    ├ streaming   blobs to read: ranges ahead of the reader, resumed where a connection broke
    ├ upload      blobs to write: in one request, or in parts
    └ referrers   who refers to a manifest: the API, or the fallback tag; paging, as for tags
    client        a request until it has its answer: login, redirects, repeats
    ├ session     the authorizations there are; auth gets them, challenge says which, credentials and ecr know logins
    ├ retry       what is repeated, how often and when; pace, how many requests a second and at once
    └ answers     what an error status means
    transport     the only sockets; connections, which of them ends when: by a deadline, or because work is stopped
    messages      requests and answers as values

Nothing above `transport` opens a socket, and nothing above `client` knows of logins.
"""
