"""Registries: the ports of `soci.places.ports` over the OCI distribution spec.

    connect            a host -> a client with its login, rate limits and retries
    repository         the ports: which requests a read or a write needs, and in which order
    ├ manifests        manifests by digest or tag, checked against the headers of the response
    ├ blob_reader      blobs to read: several ranges at a time, resumed after a broken connection
    ├ blob_upload      blobs to write: in one request, or in parts
    ├ blob_existence   whether a blob exists, by HEAD
    └ referrers        the manifests that refer to another: the API, or the fallback tag; pagination as for tags
    client             one request until it has its response: login, redirects, retries
    ├ authorizer       the authorizations in memory; authorization gets new ones
    │                  (challenge: what the registry asks for; credentials, ecr: where logins come from)
    ├ retry            which requests are repeated, how often and when; rate_limit: how many per second
    └ responses        from a status and a body to an error
    transport          sends a request through urllib3; connections: deadlines, cancellation
    http_messages      requests and responses as values; urls

Only `transport` opens sockets. Only `client` and below handle logins.
"""
