package listen

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Guard rejects requests of other sites' scripts. A site whose name resolves to this machine (DNS
// rebinding) sends its own name as the host, so only IP addresses and the given names are accepted; a
// script of another site sends its own origin. refuse answers such a request with 403; nil: as text.
func Guard(names []string, refuse func(w http.ResponseWriter, reason string), next http.Handler) http.Handler {
	if refuse == nil {
		refuse = func(w http.ResponseWriter, reason string) { http.Error(w, reason, http.StatusForbidden) }
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-cache")
		switch {
		case !named(r.Host, names):
			refuse(w, "unknown host; use the address that vlmtool printed")
		case !sameOrigin(r):
			refuse(w, "requests of other sites' pages are refused")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func named(host string, names []string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	_, err := netip.ParseAddr(host)
	return err == nil || slices.Contains(names, host)
}

// sameOrigin reports whether a request is of a page of this server, or of no page.
func sameOrigin(r *http.Request) bool {
	for _, origin := range r.Header.Values("Origin") {
		u, err := url.Parse(origin)
		if err != nil || u.Host == "" || !strings.EqualFold(u.Host, r.Host) {
			return false
		}
	}
	return true
}
