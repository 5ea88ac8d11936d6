package hub

import (
	"net/http"
	"net/url"
	"strings"
)

// withToken gives the token to requests of the hub's own origin, whoever named their
// address. As a header of the first request it would go along to subdomains, other ports
// and unencrypted connections, since Go's client looks at names of hosts alone.
type tokenTransport struct {
	c    *Client
	next http.RoundTripper // nil = the default
}

func (t *tokenTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	next := t.next
	if next == nil {
		next = http.DefaultTransport
	}
	if t.c.Token != "" && t.c.sameOrigin(r.URL) {
		r = r.Clone(r.Context()) // a RoundTripper changes no request
		r.Header.Set("Authorization", "Bearer "+t.c.Token)
	}
	return next.RoundTrip(r)
}

// own says whether an address has the hub's scheme, host and port.
func (c *Client) sameOrigin(u *url.URL) bool {
	hub, err := url.Parse(c.Endpoint)
	return err == nil && origin(hub) == origin(u)
}

// origin is an address' scheme, host and port (RFC 6454).
func origin(u *url.URL) [3]string {
	scheme, port := strings.ToLower(u.Scheme), u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[scheme]
	}
	return [3]string{scheme, strings.ToLower(u.Hostname()), port}
}
