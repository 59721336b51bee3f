"""The only way out: every byte that the daemon sends or receives over a network goes through here.

`fetch` holds the policy (limits, deadlines, redirects, which hosts), `transport` the HTTP library,
`addresses` which addresses may be contacted, `names` the DNS, `outgoing` the files to send;
`directory`, `pds`, `events` and `account` say what is asked of the ATProto network with them.
"""
