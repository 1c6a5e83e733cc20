package transport

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
)

// named is an identifier of the protocol with its name.
type named[T any] struct {
	name string
	id   T
}

// suites are the cipher suites of TLS 1.2 by OpenSSL's names, which Envoy uses.
// Those without forward secrecy, and those with known weaknesses, are not
// offered at all.
var suites = []named[uint16]{
	{"ECDHE-ECDSA-AES128-GCM-SHA256", tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
	{"ECDHE-RSA-AES128-GCM-SHA256", tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256},
	{"ECDHE-ECDSA-AES256-GCM-SHA384", tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384},
	{"ECDHE-RSA-AES256-GCM-SHA384", tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384},
	{"ECDHE-ECDSA-CHACHA20-POLY1305", tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256},
	{"ECDHE-RSA-CHACHA20-POLY1305", tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256},
	{"ECDHE-ECDSA-AES128-SHA", tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA},
	{"ECDHE-RSA-AES128-SHA", tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA},
	{"ECDHE-ECDSA-AES256-SHA", tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA},
	{"ECDHE-RSA-AES256-SHA", tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA},
}

var curves = []named[tls.CurveID]{
	{"X25519MLKEM768", tls.X25519MLKEM768},
	{"X25519", tls.X25519},
	{"P-256", tls.CurveP256},
	{"P-384", tls.CurveP384},
	{"P-521", tls.CurveP521},
}

// ParseCipherSuites reads cipher suites of TLS 1.2 by OpenSSL's names. A group
// of equals, "[A|B]", is its members in turn. No name at all: nil.
func ParseCipherSuites(names []string) ([]uint16, error) {
	var all []string
	for _, group := range names {
		inner, grouped := strings.CutPrefix(group, "[")
		if grouped {
			inner = strings.TrimSuffix(inner, "]")
		}
		all = append(all, strings.Split(inner, "|")...)
	}
	return lookUp(suites, all)
}

// ParseCurves reads groups of the key exchange by BoringSSL's names. No name at
// all: nil.
func ParseCurves(names []string) ([]tls.CurveID, error) { return lookUp(curves, names) }

func lookUp[T any](table []named[T], names []string) ([]T, error) {
	var ids []T
	for _, name := range names {
		i := slices.IndexFunc(table, func(n named[T]) bool { return n.name == name })
		if i < 0 {
			allowed := make([]string, 0, len(table))
			for _, n := range table {
				allowed = append(allowed, n.name)
			}
			return nil, fmt.Errorf("%q: is none of %s", name, strings.Join(allowed, ", "))
		}
		ids = append(ids, table[i].id)
	}
	return ids, nil
}
