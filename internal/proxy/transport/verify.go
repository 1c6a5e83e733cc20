package transport

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"time"
)

// NameType is a type of subject alternative name (RFC 5280 section 4.2.1.6).
type NameType uint8

// Types of names.
const (
	AnyName NameType = iota
	DNSName
	URIName
	IPName
	EmailName
)

func (t NameType) String() string {
	return [...]string{"any", "DNS", "URI", "IP", "email"}[min(t, EmailName)]
}

// NameMatch is one pattern for a subject alternative name. Exactly one of the
// patterns is set, as in Envoy's StringMatcher.
type NameMatch struct {
	Type NameType
	// Exact: for DNS a wildcard of the certificate stands for one label, as
	// RFC 9525 has it, and case does not matter; IP addresses are compared as
	// such.
	Exact                    string
	Prefix, Suffix, Contains string
	// Regex is one of CompileName, which matches whole names.
	Regex      *regexp.Regexp
	IgnoreCase bool // for all but Regex
}

func (m *NameMatch) validate() error {
	set := 0
	for _, s := range []string{m.Exact, m.Prefix, m.Suffix, m.Contains} {
		if s != "" {
			set++
		}
	}
	if m.Regex != nil {
		set++
	}
	if set != 1 {
		return fmt.Errorf("%d patterns are set: exactly one of exact, prefix, suffix, contains and regex is needed, and not empty", set)
	}
	if m.Type == IPName && m.Exact != "" {
		if _, err := netip.ParseAddr(m.Exact); err != nil {
			return fmt.Errorf("%q: is no IP address", m.Exact)
		}
	}
	return nil
}

// String is how errors show the pattern.
func (m *NameMatch) String() string {
	kind := ""
	if m.Type != AnyName {
		kind = m.Type.String() + " "
	}
	switch {
	case m.Regex != nil:
		return fmt.Sprintf("%smatching %q", kind, strings.TrimSuffix(strings.TrimPrefix(m.Regex.String(), anchor), anchorEnd))
	case m.Prefix != "":
		return fmt.Sprintf("%sbeginning with %q", kind, m.Prefix)
	case m.Suffix != "":
		return fmt.Sprintf("%sending in %q", kind, m.Suffix)
	case m.Contains != "":
		return fmt.Sprintf("%swith %q in it", kind, m.Contains)
	}
	return fmt.Sprintf("%s%q", kind, m.Exact)
}

// matches tells whether a certificate has such a name.
func (m *NameMatch) matches(leaf *x509.Certificate) bool {
	for t, names := range namesOf(leaf) {
		if m.Type != AnyName && m.Type != t {
			continue
		}
		for _, name := range names {
			if m.match(t, name) {
				return true
			}
		}
	}
	return false
}

func (m *NameMatch) match(t NameType, name string) bool {
	if m.Regex != nil {
		return m.Regex.MatchString(name)
	}
	if m.Exact != "" {
		switch t {
		case DNSName:
			return matchDNS(name, m.Exact)
		case IPName:
			want, err := netip.ParseAddr(m.Exact)
			have, err2 := netip.ParseAddr(name)
			return err == nil && err2 == nil && want.Unmap() == have.Unmap()
		}
		return name == m.Exact || m.IgnoreCase && strings.EqualFold(name, m.Exact)
	}
	fold := func(s string) string { return s }
	if m.IgnoreCase {
		fold = strings.ToLower
	}
	name = fold(name)
	switch {
	case m.Prefix != "":
		return strings.HasPrefix(name, fold(m.Prefix))
	case m.Suffix != "":
		return strings.HasSuffix(name, fold(m.Suffix))
	case m.Contains != "":
		return strings.Contains(name, fold(m.Contains))
	}
	return false
}

// The whole name must match, not a part of it.
const anchor, anchorEnd = `^(?:`, `)$`

// CompileName makes a regular expression of RE2 syntax that matches whole names
// only.
func CompileName(expression string) (*regexp.Regexp, error) {
	if _, err := regexp.Compile(expression); err != nil { // by itself: "a)|(b" must not pass
		return nil, err
	}
	return regexp.Compile(anchor + expression + anchorEnd)
}

// matchDNS compares a certificate's DNS name, which may begin with "*.", with a
// host name.
func matchDNS(pattern, host string) bool {
	if rest, wild := strings.CutPrefix(pattern, "*."); wild {
		label, tail, ok := strings.Cut(host, ".")
		return ok && label != "" && label != "*" && strings.Contains(rest, ".") && strings.EqualFold(tail, rest)
	}
	return strings.EqualFold(pattern, host)
}

// namesOf are the subject alternative names of a certificate. The common name
// is not one of them.
func namesOf(leaf *x509.Certificate) map[NameType][]string {
	names := map[NameType][]string{DNSName: leaf.DNSNames, EmailName: leaf.EmailAddresses}
	for _, u := range leaf.URIs {
		names[URIName] = append(names[URIName], u.String())
	}
	for _, ip := range leaf.IPAddresses {
		names[IPName] = append(names[IPName], ip.String())
	}
	return names
}

var errNoCertificate = errors.New("the peer has shown no certificate")

// check verifies what the peer has shown.
func (v *Verify) check(cs *tls.ConnectionState, roots *x509.CertPool, use x509.ExtKeyUsage, now time.Time) error {
	if len(cs.PeerCertificates) == 0 {
		return errNoCertificate
	}
	leaf := cs.PeerCertificates[0]
	opts := x509.VerifyOptions{
		Roots: roots, Intermediates: x509.NewCertPool(), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{use},
	}
	for _, c := range cs.PeerCertificates[1:] {
		opts.Intermediates.AddCert(c)
	}
	if _, err := leaf.Verify(opts); err != nil {
		return fmt.Errorf("the certificate of %s is refused: %w", describe(leaf), err)
	}
	if len(v.Names) == 0 {
		return nil
	}
	for i := range v.Names {
		if v.Names[i].matches(leaf) {
			return nil
		}
	}
	wanted := make([]string, 0, len(v.Names))
	for i := range v.Names {
		wanted = append(wanted, v.Names[i].String())
	}
	return fmt.Errorf("the certificate of %s is refused: it has no name %s", describe(leaf), listed(wanted, " or "))
}

// describe says who a certificate is for, in bounded length.
func describe(leaf *x509.Certificate) string {
	var names []string
	byType := namesOf(leaf)
	for _, t := range []NameType{DNSName, URIName, IPName, EmailName} {
		for _, name := range byType[t] {
			names = append(names, fmt.Sprintf("%q", short(name)))
		}
	}
	if len(names) == 0 {
		names = append(names, fmt.Sprintf("%q (no subject alternative name)", short(leaf.Subject.String())))
	}
	return listed(names, ", ") + fmt.Sprintf(", issued by %q", short(leaf.Issuer.String()))
}

// listed joins what people can take in.
func listed(all []string, by string) string {
	const most = 5
	if more := len(all) - most; more > 0 {
		return strings.Join(all[:most], by) + fmt.Sprintf(" and %d more", more)
	}
	return strings.Join(all, by)
}

func short(s string) string {
	const most = 120
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
