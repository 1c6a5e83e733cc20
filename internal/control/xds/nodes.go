package xds

import (
	"maps"
	"slices"
	"strings"
	"syscall"

	"github.com/reclosermesh/recloser/internal/control/lint"
)

// Nodes are the connected proxies, by id.
func (s *Server) Nodes() []Node {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Node, 0, len(s.streams))
	for st := range s.streams {
		n := st.node
		n.Metadata = maps.Clone(n.Metadata)
		n.Subscriptions = st.subscriptions
		out = append(out, n)
	}
	slices.SortFunc(out, func(a, b Node) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// Findings are the resources that proxies have refused and still have not
// taken in a newer version.
func (s *Server) Findings() []lint.Finding {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []lint.Finding
	for st := range s.streams {
		for typeURL, ts := range st.types {
			for name, n := range ts.nacks {
				out = append(out, lint.Finding{
					Code: "refused-by-proxy", Severity: lint.Error, Object: "proxy/" + st.node.ID,
					Field: typeURL[strings.LastIndexByte(typeURL, '.')+1:], Value: name,
					Reason: "the proxy refused this and keeps what it had: " + n.message,
					Mend:   mendOf(n.message),
				})
			}
		}
	}
	return out
}

// mendOf says what to do about a refusal. A file that a proxy cannot read is
// the user's: the control plane passes names of files on as they are.
func mendOf(message string) string {
	for _, e := range []error{syscall.ENOENT, syscall.EACCES, syscall.EISDIR, syscall.ENOTDIR} {
		if strings.Contains(message, e.Error()) {
			return "files are read where the proxy runs: put it there, or mend the object that names it; until then calls go on as before, without TLS where they were without"
		}
	}
	return "this is a fault of Recloser or a proxy of another version; please report it"
}
