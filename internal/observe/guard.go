package observe

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// checkAddress refuses an address that other machines can reach, unless that
// was asked for.
func checkAddress(address string, allowRemote bool) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("API address %q: give HOST:PORT", address)
	}
	if !allowRemote && !isLoopback(host) {
		return fmt.Errorf("API address %q is reachable from other machines, and the API has no authentication: give a loopback address such as %s, or allow it", address, DefaultAddress)
	}
	return nil
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// guard lets a request in when it comes from where it may and was meant for us.
//
//   - Without AllowRemote the peer must be on this machine, whatever the
//     listener is bound to.
//   - The Host header must be localhost, an IP address, or a name that was
//     configured. A web page can make a browser ask its own name, which it then
//     lets resolve to 127.0.0.1 ("DNS rebinding"); it cannot do so with these.
//   - A request that changes something must not come from another site's page:
//     net/http's CrossOriginProtection looks at Sec-Fetch-Site and Origin.
func (o *Observer) guard(next http.Handler) http.Handler {
	next = http.NewCrossOriginProtection().Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		if !o.cfg.AllowRemote {
			if host, _, err := net.SplitHostPort(r.RemoteAddr); err != nil || !isLoopback(host) {
				refuse(w, http.StatusForbidden, "the API answers only to this machine")
				return
			}
		}
		if !o.hostAllowed(r.Host) {
			refuse(w, http.StatusForbidden, fmt.Sprintf("the API is not known by the name %q: ask it by IP address or localhost, or allow the name", r.Host))
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (o *Observer) hostAllowed(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return slices.ContainsFunc(o.cfg.Hosts, func(allowed string) bool { return strings.EqualFold(allowed, host) })
}
