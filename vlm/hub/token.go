package hub

import (
	"net/http"
	"net/url"
	"strings"
)

// tokenTransport adds the token to requests to the hub's origin only. A header of the first
// request would be forwarded on redirects to subdomains, other ports and unencrypted
// connections, since Go's client compares only host names.
type tokenTransport struct {
	c    *Client
	next http.RoundTripper // nil: the default
}

func (t *tokenTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	next := t.next
	if next == nil {
		next = http.DefaultTransport
	}
	if t.c.Token != "" && t.c.sameOrigin(r.URL) {
		r = r.Clone(r.Context()) // a RoundTripper must not modify the request
		r.Header.Set("Authorization", "Bearer "+t.c.Token)
	}
	return next.RoundTrip(r)
}

// sameOrigin reports whether a URL has the hub's scheme, host and port.
func (c *Client) sameOrigin(u *url.URL) bool {
	hub, err := url.Parse(c.Endpoint)
	return err == nil && origin(hub) == origin(u)
}

// origin returns the scheme, host and port of a URL (RFC 6454).
func origin(u *url.URL) [3]string {
	scheme, port := strings.ToLower(u.Scheme), u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[scheme]
	}
	return [3]string{scheme, strings.ToLower(u.Hostname()), port}
}
